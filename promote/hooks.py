"""The operator's own checks during a bake: commands, each run again and again; one that fails ends the bake.

They run beside the watch, so that a slow one blinds nobody, and each must have passed before the commit.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from promote.settings import Hook

_EVERY = 1.0
"""Seconds between two rounds of all hooks."""
_TAIL = 300


class HookRunner:
    """Runs while the block lasts; nothing of it is left afterwards."""

    def __init__(self, hooks: Sequence[Hook], environment: Mapping[str, str]) -> None:
        """`environment`: what the commands see beyond PATH."""
        self._hooks = hooks
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), **environment}
        self._over = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="bake hooks")
        self.all_passed = not hooks
        """Whether every hook has passed once."""
        self.failure: str | None = None

    def __enter__(self) -> "HookRunner":
        if self._hooks:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._process is not None and self._process.poll() is None:
            _end(self._process)  # one that was reaped may have given its number to another
        if self._hooks:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            for hook in self._hooks:
                why = self._ask(hook)
                if self._over.is_set():
                    return
                if why is not None:
                    self.failure = f"hook {hook.name}: {why}"
                    return
            self.all_passed = True
            self._over.wait(_EVERY)

    def _ask(self, hook: Hook) -> str | None:
        """Why it did not pass, or None."""
        try:
            self._process = process = subprocess.Popen(
                hook.argv,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot be run: {error.strerror}"
        if self._over.is_set():  # set before this process could be seen
            _end(process)
        try:
            said, _ = process.communicate(timeout=hook.timeout_seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            process.communicate()
            return f"no end within {hook.timeout_seconds:g} s"
        if process.returncode == 0:
            return None
        return f"exit {process.returncode}: {said.strip()[-_TAIL:]}"


def _end(process: subprocess.Popen[str]) -> None:
    """With all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
