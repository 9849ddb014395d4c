"""A child process that puts a directory back when its parent dies without a word."""

import os
import signal
import sys
from pathlib import Path

from evolve.mend.workspace import Workspace


class Guardian:
    """Start before any thread. `watch(pid)` names the running command's group; `dismiss` ends it."""

    def __init__(self, workspace: Workspace, home: Path) -> None:
        reading, self._writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._writing)
            try:
                _stand_by(reading, workspace, home)
            finally:
                os._exit(0)
        os.close(reading)

    def watch(self, pid: int) -> None:
        os.write(self._writing, f"{pid}\n".encode())

    def dismiss(self) -> None:
        os.write(self._writing, b"done\n")
        os.close(self._writing)
        os.waitpid(self.pid, 0)


def _stand_by(reading: int, workspace: Workspace, home: Path) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    last = ""
    with os.fdopen(reading) as source:
        for line in source:
            if line == "done\n":
                return
            last = line.strip()
    if last:
        try:
            os.killpg(int(last), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            print("evolve-mend: the test command had ended", file=sys.stderr)
    workspace.restore(caches=True)
    import shutil

    shutil.rmtree(home, ignore_errors=True)
