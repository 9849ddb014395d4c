"""Starts the product's processes and starts them again; knows nothing else about them.

`python -m promote.supervisor --config FILE`. What runs is data: name, argv, environment, log file. A
process that ends is started again after a pause that doubles up to 5 s and falls back once it has run for
10 s. SIGTERM ends all of them, the last one first. When the supervisor itself is killed the kernel ends its
processes (parent-death signal), so that the next supervisor finds no port in use.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from containers.processes import die_with_parent
from evidence.ledger import write_durably
from promote.wire import complaint

_STEADY_SECONDS = 10.0
_LONGEST_PAUSE = 5.0
_TICK = 0.1


class Program(BaseModel):
    """One process to keep alive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    argv: tuple[str, ...] = Field(min_length=1)
    env: dict[str, str] = {}
    """Beyond PATH, HOME, LANG and PYTHONPATH; nothing else of the caller's environment is passed on."""
    cwd: Path | None = None
    log: Path


class SupervisorConfig(BaseModel):
    """What `--config` holds, as JSON. Programs are started in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    programs: tuple[Program, ...]
    status: Path
    """Rewritten at every change: {"pid", "programs": {name: {"pid", "starts", "running_seconds"}}}."""
    stop_seconds: float = Field(default=15.0, gt=0)


@dataclass
class _Running:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    due: float = 0.0
    pause: float = _TICK
    starts: int = 0

    def start(self) -> None:
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "PYTHONPATH") if key in os.environ}
        with self.program.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.program.argv,
                env={**kept, **self.program.env},
                cwd=self.program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, signal.SIGTERM),
            )
        self.since = time.monotonic()
        self.starts += 1

    def look(self) -> bool:
        """Start what is due; True when something changed."""
        now = time.monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return False
            self.pause = _TICK if now - self.since > _STEADY_SECONDS else min(self.pause * 2, _LONGEST_PAUSE)
            self.process, self.due = None, now + self.pause
            return True
        if now < self.due:
            return False
        try:
            self.start()
        except OSError as error:
            print(f"supervisor: {self.program.name}: {error}", file=sys.stderr, flush=True)
            self.pause = min(self.pause * 2, _LONGEST_PAUSE)
            self.due = now + self.pause
        return True

    def end(self, seconds: float) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def supervise(config: SupervisorConfig) -> None:
    """Until SIGTERM or SIGINT."""
    ends: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: ends.append(received))
    running = [_Running(program) for program in config.programs]
    config.status.parent.mkdir(parents=True, exist_ok=True)
    while not ends:
        changes = [item.look() for item in running]
        if any(changes):
            _tell(config.status, running)
        time.sleep(_TICK)
    for item in reversed(running):
        item.end(config.stop_seconds)
    config.status.unlink(missing_ok=True)


def read_status(path: Path) -> dict[str, object] | None:
    """What a living supervisor last wrote, else None."""
    try:
        status = dict(json.loads(path.read_bytes()))
        os.kill(int(str(status["pid"])), 0)
    except (OSError, ValueError, KeyError):
        return None
    return status


def _tell(path: Path, running: list[_Running]) -> None:
    programs = {
        item.program.name: {
            "pid": item.process.pid if item.process is not None else None,
            "starts": item.starts,
            "running_seconds": round(time.monotonic() - item.since, 1) if item.process is not None else 0,
        }
        for item in running
    }
    write_durably(path, json.dumps({"pid": os.getpid(), "programs": programs}).encode())


def main() -> int:
    parser = argparse.ArgumentParser(prog="promote.supervisor", description="keeps the processes running")
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    try:
        config = SupervisorConfig.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        print(f"{path}: {complaint(error)}", file=sys.stderr)
        return 2
    supervise(config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
