"""tour.py check|print - the guided tour through the sources.

A comment that starts with `Tour N.` is stop N. `check` fails on a gap or a duplicate; `print` shows
the stops in order, with the comment that each one stands in.
"""

import pathlib
import re
import subprocess
import sys

STOP = re.compile(r"^\s*(?://[/!]?|/?\*+|#|;)\s*Tour (\d+)\.\s*(.*)")
COMMENT = re.compile(r"^\s*(?://[/!]?|/?\*+(?!/)|#(?!\[)|;)\s?(.*)")
SOURCES = (".rs", ".S", ".c", ".h", ".ld")


def sources():
    """Every source file of the repository, whether committed yet or not."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\n")
    return sorted({name for name in names if name.endswith(SOURCES) and pathlib.Path(name).exists()})


def stops():
    """(number, file, line, text) of each stop, in the order of their numbers."""
    found = []
    for name in sources():
        lines = pathlib.Path(name).read_text(errors="replace").split("\n")
        for index, line in enumerate(lines):
            match = STOP.match(line)
            if match:
                text = [match.group(2)]
                for following in lines[index + 1:]:
                    comment = COMMENT.match(following)
                    if not comment or not comment.group(1).strip(" */"):
                        break
                    text.append(comment.group(1).rstrip(" */"))
                found.append((int(match.group(1)), name, index + 1, text))
    return sorted(found)


def check(found):
    faults = []
    for expected, (number, name, line, _) in enumerate(found, start=1):
        if number != expected:
            faults.append(f"{name}:{line}: tour stop {number}, expected {expected}")
            break
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"tour: {len(found)} stops", file=sys.stderr)
    return 1 if faults else 0


def show(found):
    for number, name, line, text in found:
        print(f"{number}. {name}:{line}")
        for words in text:
            print(f"   {words}".rstrip())
        print()
    return 0


if __name__ == "__main__":
    sys.exit({"check": check, "print": show}[sys.argv[1]](stops()))
