"""named_tests.py DOCUMENT... - fails when a document names a test that does not exist.

The names are those in backquotes in the paragraphs that begin with `Tests:`, as far as they look like a Rust
test's: four words or more. Guests, which are named there too, have shorter names.
"""

import pathlib
import re
import sys

SOURCES = ["boot", "libhv", "tests"]


def named(document):
    for paragraph in pathlib.Path(document).read_text().split("\n\n"):
        if paragraph.startswith("Tests:"):
            yield from (name for name in re.findall(r"`(\w+)`", paragraph) if name.count("_") >= 3)


def main():
    files = (file for root in SOURCES for file in pathlib.Path(root).rglob("*.rs"))
    text = "\n".join(file.read_text() for file in files if "target" not in file.parts)
    tests = set(re.findall(r"\bfn (\w+)", text))
    missing = [(document, name) for document in sys.argv[1:] for name in named(document) if name not in tests]
    for document, name in missing:
        print(f"{document}: there is no test {name}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
