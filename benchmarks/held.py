"""How long a swap holds requests, under traffic, against a plain stop and start of the same service; and what each loses."""

import compileall
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.installation import Installation
from benchmarks.measure import Result, median, ratio, say
from benchmarks.traffic import Traffic
from containers.engine import get_runtime
from containers.runtime import Runtime
from containers.substrate import load_manifest
from evolve.substrates import export_tiny

PEER = (
    "SIGTERM, wait for the exit, start again: the same service as a bare process on its state directory, "
    "no sandbox, no check, asked directly on its socket by the same clients"
)
STEPS = ("HOLD", "DRAIN", "FENCE", "CLONE", "START", "PROBE", "RELEASED")


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("agent", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Bare:
    """The service as a process of ours."""

    def __init__(self, tree: Path, home: Path) -> None:
        self._tree, self.socket, self._state = tree, home / "b.sock", home / "bare-state"
        self._process = self._start()

    def restart(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        self._process = self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        env = {
            "PATH": os.environ["PATH"],
            "AGENT_SOCKET": str(self.socket),
            "STATE_DIR": str(self._state),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "-S", "-m", "service"]
        return subprocess.Popen(command, cwd=self._tree, env=env, stdin=subprocess.DEVNULL)


def two_images(runtime: Runtime, home: Path) -> tuple[str, str, Path]:
    """The tiny substrate, and the same with one more file, so that there is something to swap; and a tree to run bare."""
    digests = []
    for number in range(2):
        tree = home / f"t{number}"
        export_tiny(tree)
        (tree / "note.txt").write_text(str(number), encoding="utf-8")
        digests.append(runtime.build(tree, load_manifest(tree)).digest)
    compileall.compile_dir(home / "t0", quiet=2)  # as the image's tree is
    return digests[0], digests[1], home / "t0"


def steps_of(rows: Sequence[dict[str, object]]) -> dict[str, float]:
    """Milliseconds of each step of the runbook, from the times of its ledger rows."""
    marks: list[tuple[str, float]] = []
    for row in rows:
        data = row["data"]
        assert isinstance(data, dict)
        if data["state"] in STEPS and (data["state"] == "HOLD" or data["phase"] == "done"):
            marks.append((str(data["state"]), datetime.fromisoformat(str(row["ts"])).timestamp()))
    return {after[0]: 1000 * (after[1] - before[1]) for before, after in pairwise(marks)}


def one_swap(here: Installation, target: str) -> dict[str, object]:
    with Traffic(lambda: http.client.HTTPConnection("127.0.0.1", here.port, timeout=60)) as traffic:
        traffic.answered(40)
        began = time.monotonic()
        record, rows = here.swap(target)
        traffic.answered(20)
        gap = traffic.longest_gap(began, time.monotonic())
    figures = {"lost": traffic.lost(began), "asked": traffic.count(began)}
    return {"held": record.held_ms, "gap": gap, "steps": steps_of(rows), **figures}


def one_restart(bare: Bare) -> dict[str, object]:
    with Traffic(lambda: _Unix(bare.socket)) as traffic:
        traffic.answered(40)
        began = time.monotonic()
        bare.restart()
        traffic.answered(20)
        gap = traffic.longest_gap(began, time.monotonic())
    return {"gap": gap, "lost": traffic.lost(began), "asked": traffic.count(began)}


def summary(runs: Sequence[dict[str, object]]) -> Result:
    return {
        "median_unanswered_ms": median([float(str(one["gap"])) for one in runs], 0),
        "lost": sum(int(str(one["lost"])) for one in runs),
        "asked": sum(int(str(one["asked"])) for one in runs),
    }


def measure(small: bool) -> Result:
    rounds = 1 if small else 15
    swaps: list[dict[str, object]] = []
    restarts: list[dict[str, object]] = []
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bh-")))
        runtime = get_runtime("bubblewrap", home / "r")
        one, other, tree = two_images(runtime, home)
        here = stack.enter_context(Installation(home, runtime, home / "r", one))
        bare = Bare(tree, home)
        stack.callback(bare.close)
        for number in range(rounds):
            swaps.append(one_swap(here, other if number % 2 == 0 else one))
            restarts.append(one_restart(bare))
            say(
                f"held: swap {swaps[-1]['held']} ms, lost {swaps[-1]['lost']}; "
                f"restart {restarts[-1]['gap']:.0f} ms, lost {restarts[-1]['lost']}"
            )
    steps = {name: median([one["steps"][name] for one in swaps], 0) for name in STEPS[1:]}  # type: ignore[index]
    held = [float(str(one["held"])) for one in swaps]
    return {
        "what": "4 clients, tiny substrate; milliseconds in which no request is answered, and requests lost",
        "peers": {"stop_and_start": PEER},
        "n": rounds,
        "swap": {"median_held_ms": median(held, 0), **summary(swaps), "median_ms_by_step": steps},
        "stop_and_start": summary(restarts),
        "held_to_stop_and_start": ratio(held, [float(str(one["gap"])) for one in restarts]),
    }
