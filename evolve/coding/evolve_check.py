"""evolve-check: replay the visible cases on this worktree, and say what came of it.

usage: evolve-check [--fail-fast] [--junit FILE] [--json] [--list] [--tree DIR] [CASE ...]

Runs inside a coder's sandbox with the standard library alone; the replays happen outside, behind a socket. Exits 0 when
every replayed case passes, 1 when one fails, 2 on wrong usage, 5 when the replay itself broke.
"""

import argparse
import base64
import html  # not xml.sax: it would import half of the network modules
import json
import os
import socket
import sys
from typing import Any

SOCKET = "/run/check/check.sock"
REPO = "/work/repo"
LEFT_OUT = (".git", "__pycache__")


def ask(request: dict[str, object]) -> dict[str, Any]:
    """One request, one answer, both a line of JSON."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(SOCKET)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer: dict[str, Any] = json.loads(stream.readline() or b'{"error": "no answer"}')
                return answer
    except (OSError, ValueError) as error:
        return {"error": f"the replays can't be reached: {error}"}


def changes(tree: str) -> dict[str, str | None]:
    """How `tree`, a copy of the repository, differs from it: path -> content in base64; None for a file that is gone."""
    before, after = _files(REPO), _files(tree)
    found: dict[str, str | None] = {name: None for name in before if name not in after}
    for name, path in after.items():
        with open(path, "rb") as stream:
            content = stream.read()
        if name in before:
            with open(before[name], "rb") as stream:
                if stream.read() == content:
                    continue
        found[name] = base64.b64encode(content).decode()
    return found


def _files(top: str) -> dict[str, str]:
    found = {}
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if name not in LEFT_OUT]
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found[os.path.relpath(path, top)] = path
    return found


def junit(results: list[dict[str, str]]) -> str:
    """The results as JUnit XML, one test case a case."""
    failed = sum(result["outcome"] == "fail" for result in results)
    broken = sum(result["outcome"] == "invalid" for result in results)
    lines = [f'<testsuite name="evolve-check" tests="{len(results)}" failures="{failed}" errors="{broken}">']
    for result in results:
        name = f'"{html.escape(result["case"])}"'
        if result["outcome"] == "pass":
            lines.append(f'  <testcase classname="visible" name={name}/>')
            continue
        tag = "failure" if result["outcome"] == "fail" else "error"
        reason = html.escape(result["reason"])
        lines.append(f'  <testcase classname="visible" name={name}><{tag}>{reason}</{tag}></testcase>')
    return "\n".join([*lines, "</testsuite>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="evolve-check", description=__doc__.splitlines()[0])
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failing case")
    parser.add_argument("--junit", metavar="FILE", help="write results as JUnit XML")
    parser.add_argument("--json", action="store_true", help="print results as JSON")
    parser.add_argument("--list", action="store_true", help="name the visible cases, replay nothing")
    parser.add_argument("--tree", metavar="DIR", help="replay on DIR, a copy of the repository")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    options = parser.parse_args()
    request: dict[str, object] = {
        "cases": options.cases,
        "fail_fast": options.fail_fast,
        "list": options.list,
    }
    if options.tree is not None:
        if not os.path.isdir(options.tree):
            parser.error(f"--tree: {options.tree} is not a directory")
        request["changes"] = changes(options.tree)
    answer = ask(request)
    if "error" in answer:
        print(f"evolve-check: {answer['error']}", file=sys.stderr)
        return 5
    results = answer["results"]
    if options.junit:
        with open(options.junit, "w", encoding="utf-8") as stream:
            stream.write(junit(results))
    if options.json:
        print(json.dumps(answer))
    else:
        for result in results:
            print(f"{result['outcome']:8}{result['case']}  {result['reason']}".rstrip())
    outcomes = {result["outcome"] for result in results}
    return 5 if "invalid" in outcomes else 1 if "fail" in outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
