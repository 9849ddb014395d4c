"""Runs `evolve` commands as processes of their own without paying for the imports each time: a server that has imported
everything forks for each command. What runs is the real entry point, in a real process that can be killed.

One line of JSON a command, `{"argv": […], "env": {…}, "files": [stdin, stdout, stderr]}`; the answers are the child's pid
and, when it ended, its exit code (negative: the signal).
"""

import importlib.util
import json
import os
import sys
import tempfile
import traceback


def main() -> None:
    from evolve.cli.main import COMMANDS

    for module, _, _ in COMMANDS.values():
        if importlib.util.find_spec(module):
            importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: dict[str, object]) -> None:
    from evolve.cli.main import main as evolve

    files = order["files"]
    assert isinstance(files, list)
    for number, (name, flags) in enumerate(
        zip(files, (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)
    ):
        handle = os.open(name, flags, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    os.setsid()
    os.environ.update(order["env"])  # type: ignore[call-overload]
    tempfile.tempdir = None  # a TMPDIR of its own counts
    sys.argv = ["evolve", *order["argv"]]  # type: ignore[misc]
    code: object = 1
    try:
        evolve()
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        if sys.exception() is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
