"""licences.py APPLICATION... - refuses dependencies that do not go with MIT OR Apache-2.0.

Reads `cargo metadata` from standard input. A package passes if one alternative of its licence
expression consists of permissive licences only. What no application links, the developer's own tools,
may be under the MPL-2.0 or the CDDL-1.0 as well: they bind changes of those packages and nothing beside them.
"""

import json
import re
import sys

PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause",
    "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unicode-DFS-2016",
    "Unlicense", "Zlib",
}


FOR_TOOLS = PERMISSIVE | {"CDDL-1.0", "MPL-2.0"}


def permitted(expression, licences):
    """Evaluates an SPDX expression: names are in `licences` or not, AND and OR combine, AND binds tighter."""
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
        return token in licences

    return alternatives() and at == len(tokens)


def linked(metadata, applications):
    """Identifiers of the packages that end up in an image."""
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, todo = set(), [node for node in nodes if names[node] in applications]
    while todo:
        package = todo.pop()
        if package not in found:
            found.add(package)
            for dependency in nodes[package]["deps"]:
                if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                    todo.append(dependency["pkg"])
    return found


def main():
    metadata = json.load(sys.stdin)
    packages = metadata["packages"]
    shipped = linked(metadata, sys.argv[1:])
    bad = []
    for package in packages:
        licences = PERMISSIVE if package["id"] in shipped else FOR_TOOLS
        if not package["license"] or not permitted(package["license"], licences):
            bad.append(f"{package['name']} {package['version']}: {package['license'] or 'no licence'}")
    for line in bad:
        print(f"licence not permitted: {line}", file=sys.stderr)
    print(f"licences: {len(packages)} packages, {len(shipped)} in images, {len(bad)} refused", file=sys.stderr)
    return 1 if bad or not shipped else 0


if __name__ == "__main__":
    sys.exit(main())
