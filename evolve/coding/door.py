"""A coder's door to its model: one gateway process per call, which holds the key and the caps and keeps the log."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from containers.host import write_atomically
from containers.runtime import RuntimeBroken
from evolve.coding.protocol import CodingBudget
from trial.gateway import Caps, Cost, GatewayConfig, Upstream
from trial.gateway.meter import read_meter

METER, CALLS = "meter.json", "calls.jsonl"
START_SECONDS = 60.0
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Door:
    """An open door: `folder` holds the socket and is what a sandbox may see of it."""

    folder: Path
    calls: Path
    meter: Path
    before: Cost

    @property
    def spent(self) -> Cost:
        """By this call so far; what was reserved and never settled counts in full."""
        return read_meter(self.meter)[0].plus(self.before, -1)

    @property
    def refused(self) -> str:
        """Which cap was reached; empty: none."""
        return read_meter(self.meter)[1]


@contextmanager
def open_door(upstream: Upstream, audit: Path, folder: Path, budget: CodingBudget) -> Iterator[Door]:
    """A gateway while the block runs; it ends with this process whatever happens. Raises RuntimeBroken."""
    audit.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    meter = audit / METER
    before = read_meter(meter)[0]
    write_atomically(meter, _plain(before))
    config = GatewayConfig(
        socket=folder / "gateway.sock",
        mode="record",
        log=audit / CALLS,
        upstream=upstream,
        caps=_caps(budget, before),
        meter=meter,
    )
    path = audit / "gateway.json"
    write_atomically(path, config.model_dump_json(indent=1).encode(), 0o600)
    command = [sys.executable, "-m", "trial.gateway", "--config", str(path), "--lifeline"]
    with (audit / "gateway.log").open("ab") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
    try:
        _wait_listening(process, config.socket, audit / "gateway.log")
        yield Door(folder, config.log or path, meter, before)
    finally:
        _end(process)


def _plain(spent: Cost) -> bytes:
    """A meter without the refusal of an earlier call."""
    return f'{{"micro_usd": {spent.micro_usd}, "tokens": {spent.tokens}, "calls": {spent.calls}}}'.encode()


def _caps(budget: CodingBudget, before: Cost) -> Caps:
    """The meter goes on counting over the attempts of one pass."""

    def cap(left: int | None, used: int) -> int | None:
        return None if left is None else max(0, left) + used

    return Caps(
        micro_usd=cap(budget.usd_micros, before.micro_usd),
        tokens=cap(budget.tokens, before.tokens),
        calls=cap(budget.model_calls, before.calls),
    )


def _wait_listening(process: "subprocess.Popen[bytes]", socket: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RuntimeBroken(
                f"the coder's gateway did not start: {lines[-1] if lines else 'it said nothing'}"
            )
        time.sleep(0.02)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """A stream that nobody reads any more may be cut: its worst case stays spent."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
