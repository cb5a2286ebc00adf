"""coverage.py LCOV UNCOVERED PERCENT - one line about the lines of hv-core that its tests run.

Test code is not counted, in files of its own or at the end of others. The lines that nothing runs go to the file
UNCOVERED. Fails when less than PERCENT are run.
"""

import re
import sys

TEST_FILES = re.compile(r"/tests/|/\w*_tests(/|\.rs)|/tests\.rs|/(fake_memory|scripted_driver)\.rs")


def counted(path):
    """The path inside hv-core and the last line that is no test; None for a file that is not counted."""
    _, core, inside = path.rpartition("libhv/core/src/")
    if not core or TEST_FILES.search("/" + inside):
        return None
    with open(path, encoding="utf-8") as file:
        source = file.read()
    tests = re.search(r"^#\[cfg\(test\)\]\nmod tests \{", source, re.MULTILINE)
    return inside, source.count("\n", 0, tests.start()) if tests else source.count("\n")


def main(lcov, uncovered, wanted):
    lines, missed, file = {}, [], None
    with open(lcov, encoding="utf-8") as records:
        for record in records:
            kind, _, value = record.strip().partition(":")
            if kind == "SF":
                file = counted(value)
            elif kind == "DA" and file and int(value.split(",")[0]) <= file[1]:
                line, count = map(int, value.split(",")[:2])
                place = (file[0], line)
                lines[place] = lines.get(place, 0) + count
    missed = sorted(place for place, count in lines.items() if count == 0)
    with open(uncovered, "w", encoding="utf-8") as out:
        out.writelines(f"libhv/core/src/{path}:{line}\n" for path, line in missed)
    run = len(lines) - len(missed)
    percent = 100 * run / max(len(lines), 1)
    print(f"COVERAGE core {percent:.2f} % of lines ({run} of {len(lines)})")
    if percent < wanted:
        print(f"libhv: less than {wanted} %; the others are in {uncovered}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
