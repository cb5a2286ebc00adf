"""licences.py - refuses dependencies that could not be shipped under MIT OR Apache-2.0.

Reads `cargo metadata` from standard input. A package passes if one alternative of its licence
expression consists of permissive licences only.
"""

import json
import re
import sys

PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause",
    "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unicode-DFS-2016",
    "Unlicense", "Zlib",
}


def permitted(expression):
    """Evaluates an SPDX expression: names are permissive or not, AND and OR combine, AND binds tighter."""
    # Before SPDX a slash meant OR.
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    at = 0

    def alternatives():
        nonlocal at
        result = everything()
        while at < len(tokens) and tokens[at] == "OR":
            at += 1
            other = everything()
            result = result or other
        return result

    def everything():
        nonlocal at
        result = one()
        while at < len(tokens) and tokens[at] == "AND":
            at += 1
            other = one()
            result = result and other
        return result

    def one():
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "(":
            result = alternatives()
            at += 1
            return result
        if tokens[at:at + 1] == ["WITH"]:
            token += " WITH " + tokens[at + 1]
            at += 2
        return token in PERMISSIVE

    return alternatives() and at == len(tokens)


def main():
    packages = json.load(sys.stdin)["packages"]
    bad = [
        f"{package['name']} {package['version']}: {package['license'] or 'no licence'}"
        for package in packages
        if not package["license"] or not permitted(package["license"])
    ]
    for line in bad:
        print(f"licence not permitted: {line}", file=sys.stderr)
    print(f"licences: {len(packages) - len(bad)} of {len(packages)} packages permitted", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
