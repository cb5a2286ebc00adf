"""mutants.py OUTPUT EXPLAINED PERCENT - one line about what the tests made of the mutants.

OUTPUT is the directory that cargo-mutants wrote. A survivor that the page EXPLAINED does not name is printed. Fails
when there is one, or when more than PERCENT survive.
"""

import re
import sys
from pathlib import Path


def known_as(name):
    """The mutant without its line, which moves: its file, and what it changes."""
    return re.sub(r"^libhv/core/src/([^:]*)[0-9:]* ", r"\1 ", name)


def main(output, page, limit):
    def names(list_of, run=output):
        file = run / f"{list_of}.txt"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    survived, late, unviable = names("missed"), names("timeout"), names("unviable")
    caught = len(names("caught"))
    before = names("previously_caught")
    if before:
        # A second run remembers here what the first has caught, and what did not build, which only the first tells apart.
        first = names("unviable", output.with_name(output.name + ".old"))
        caught += len(before) - len(first)
        unviable += first
    examined = caught + len(survived) + len(late)
    percent = 100 * len(survived) / max(examined, 1)
    print(
        f"MUTANTS {examined} examined, {caught} caught, {len(late)} timed out, {len(survived)} survived "
        f"({percent:.1f} %), {len(unviable)} did not build"
    )
    explained = page.read_text(encoding="utf-8")
    unknown = [name for name in survived if f"`{known_as(name)}`" not in explained]
    for name in unknown:
        print(f"libhv: unexplained: {name}", file=sys.stderr)
    return 1 if unknown or percent > limit else 0


sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
