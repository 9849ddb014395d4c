"""Children of PID 1: forked from the preloaded interpreter for `python -m X`, executed for everything
else."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading

from . import boot, cover

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from typing import Any, NoReturn

APP = "/app"
DEPS = "/deps"
_PYTHONS = ("python", "python3")


def spawn(
    argv: list[str],
    env: dict[str, str],
    workdir: str,
    limits: dict[str, Any],
    *,
    output: int | None,
    errors: int | None,
    inherit_stdin: bool = False,
    in_process: bool = False,
    trace_into: str | None = None,
) -> int:
    """Fork; the child takes `output` as stdout (None: our own), `errors` as stderr, and nothing else of
    ours."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(env, workdir, limits, output, errors, inherit_stdin)
        if in_process and len(argv) >= 3 and argv[0] in _PYTHONS and argv[1] == "-m":
            _run_module(argv[2], argv[3:], trace_into)
        _execute(argv, env)
    finally:  # whatever happens, a child never returns into PID 1's own code
        if sys.exc_info()[0] is not None:
            _print_traceback()
        sys.stderr.flush()
        os._exit(127)


def _become(
    env: dict[str, str],
    workdir: str,
    limits: dict[str, Any],
    output: int | None,
    errors: int | None,
    inherit_stdin: bool,
) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not inherit_stdin:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
    for source, target in ((output, 1), (errors, 2)):
        if source is not None:
            os.dup2(source, target)
    os.closerange(3, 65536)
    boot.limit_child(limits)
    os.environ.clear()
    os.environ.update(env)
    os.umask(0o022)
    os.chdir(workdir)


def _execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if argv[0] in _PYTHONS:
        os.execve(sys.executable, [argv[0], *argv[1:]], env)
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(2, f"[shim] cannot run {argv[0]!r}: {error.strerror}\n".encode())
        os._exit(127)


def _run_module(module: str, arguments: list[str], trace_into: str | None) -> NoReturn:
    """What `python -m` does, in a fork of the preloaded interpreter; ends like an interpreter ends."""
    import runpy

    sys.path[:] = [APP, DEPS, *(entry for entry in sys.path if entry not in ("/shim", APP, DEPS))]
    sys.argv[:] = [module, *arguments]
    for name in [name for name in sys.modules if name.partition(".")[0] == __package__]:
        del sys.modules[name]  # a trial's PID 1 has others than production's
    tracer = cover.start(APP, trace_into + ".marked") if trace_into else None
    code = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = _exit_code(stop)
    finally:
        if code and sys.exc_info()[0] is not None:
            _print_traceback()
        try:
            _finish()
            if tracer is not None and trace_into:
                tracer.write(trace_into)
        finally:
            os._exit(code)


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _finish() -> None:
    """What an interpreter does at its end, which `os._exit` would skip."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)
    return 1
