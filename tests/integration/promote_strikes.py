"""Who else is struck while the promoter stands still at a named point: the agent, the edge, the engine."""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from promote_rig import Rig

Mend = Callable[[], None]
Victim = Callable[[Rig], Mend]
"""Does the harm and returns what mends it. The promoter goes on between the two."""
Strike = tuple[str, str]
"""A victim's name, and the point at which the promoter is when it is struck."""


def kill_agent(rig: Rig) -> Mend:
    """Every live instance, if there is one at this point. It is the promoter's to bring it back."""
    for instance in rig.runtime.find({"evolve.service": rig.service, "evolve.role": "live"}):
        rig.runtime.kill(instance)
    return lambda: None


def kill_edge(rig: Rig) -> Mend:
    """The promoter finds nobody there until it is back, as if a supervisor had started it."""
    assert rig.edge_process is not None
    rig.edge_process.kill()
    rig.edge_process.wait()
    return rig.start_edge


VICTIMS: Mapping[str, Victim] = {"agent": kill_agent, "edge": kill_edge}


class Striker:
    """While the block lasts: strikes at its point each victim that is `left`, and says so in `hit`."""

    def __init__(
        self, rig: Rig, log: Path, left: list[Strike], hit: list[str], victims: Mapping[str, Victim]
    ) -> None:
        self._rig, self._log, self._left, self._hit, self._victims = rig, log, left, hit, victims
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.trouble = ""

    def __enter__(self) -> "Striker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            process = self._rig.promoter_process
            if process is None or not _stands_still(process.pid):
                continue
            mends: Sequence[Mend] = ()
            try:
                mends = self._strike()
            except Exception as error:  # noqa: BLE001 - told with the trial's problems; a promoter is never left stopped
                self.trouble = f"{type(error).__name__}: {error}"
            os.kill(process.pid, signal.SIGCONT)
            try:
                for mend in mends:
                    mend()
            except Exception as error:  # noqa: BLE001
                self.trouble = f"{type(error).__name__}: {error}"
            time.sleep(0.01)

    def _strike(self) -> list[Mend]:
        reached = self._log.read_text().splitlines()
        point = next(name for name in reversed(reached) if any(name == at for _, at in self._left))
        mends = []
        for strike in [one for one in self._left if one[1] == point]:
            self._left.remove(strike)
            mends.append(self._victims[strike[0]](self._rig))
            self._hit.append(named(strike))
        return mends


def named(strike: Strike) -> str:
    return f"{strike[0]}@{strike[1]}"


def _stands_still(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
