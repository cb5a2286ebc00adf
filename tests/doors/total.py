"""total.py COMMAND... - runs tests, passes their output on, and ends with one line of totals.

Sums the `test result:` lines of every test program. A command that fails without a failed test (it did
not compile, or a test program died) counts as one failure, so that the totals never look better than
the status.
"""

import re
import subprocess
import sys

RESULT = re.compile(r"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored")


def main():
    passed = failed = skipped = 0
    tests = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True, errors="replace")
    for line in tests.stdout:
        print(line, end="", flush=True)
        result = RESULT.match(line)
        if result:
            counts = [int(count) for count in result.groups()]
            passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    status = tests.wait()
    if status and not failed:
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
