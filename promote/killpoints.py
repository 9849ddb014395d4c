"""Named moments at which the promoter may be killed, so that its promise can be tried at every one of them.

`PROMOTE_KILL_AT=name:n` sends SIGKILL to this very process when it reaches `name` for the n-th time;
`PROMOTE_STOP_AT=name,name` stops it (SIGSTOP) when it first reaches each, so that others can be killed at that moment;
`PROMOTE_POINTS=file` appends every name that was reached. Without them a point is a look-up in an empty set.
"""

import os
import signal
from pathlib import Path


class KillPoints:
    """`reach(name)` returns, or this process is gone. A stopped one goes on at SIGCONT."""

    def __init__(self) -> None:
        name, _, count = os.environ.get("PROMOTE_KILL_AT", "").rpartition(":")
        self._name, self._left = name, int(count or 0)
        self._stops = set(os.environ.get("PROMOTE_STOP_AT", "").split(",")) - {""}
        log = os.environ.get("PROMOTE_POINTS", "")
        self._log = Path(log) if log else None

    def reach(self, name: str) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(name + "\n")
        if name in self._stops:
            self._stops.discard(name)
            os.kill(os.getpid(), signal.SIGSTOP)
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
