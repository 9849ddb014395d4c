"""The promoter as a process: `python -m promote.promoter --config FILE`.

One main thread drives the runbook; a thread per connection answers the CLI and the page over a unix socket.
A lock beside the ledger lets one promoter act. At start it recovers whatever was open; that is the same
code as going on.
"""

import argparse
import fcntl
import hashlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from containers.engine import get_runtime
from containers.runtime import EngineUnavailable, Limits
from evidence.canonical import digest
from evidence.ledger import Ledger, LedgerBroken
from promote.accept import Intake, Rejected
from promote.api import serve_api
from promote.approval import SignedApproval
from promote.attest import Attestor
from promote.bake import BakeRules
from promote.edges import edge_at
from promote.generations import Generations
from promote.journal import Journal
from promote.keys import KeyRefused, machine_key
from promote.killpoints import KillPoints
from promote.live import Instances, Surroundings, epoch_of
from promote.parts import STEP_FAILED, Parts, Stopping
from promote.policy import ConsentPolicy, ConsentRefused
from promote.probe import beats
from promote.records import Live
from promote.settings import BAKE_FLOOR_SECONDS, BAKE_FLOOR_TURNS, PromoterConfig
from promote.swap import advance
from promote.wire import Unreachable, complaint

log = logging.getLogger("promote")
_TICK = 1.0
_LONGEST_PAUSE = 15.0


class AnotherActs(Exception):
    """Another promoter holds the lock."""


@dataclass(frozen=True)
class BakeFloor:
    """The least that an approval may ask for. The production root takes the constants of
    `promote.settings`."""

    seconds: float
    turns: int


def promoter_digest() -> str:
    """Over the code that decides: this package, the runtimes and the ledger."""
    root = Path(__file__).parent.parent
    paths = [*root.glob("promote/**/*.py"), *root.glob("containers/**/*.py"), root / "evidence" / "ledger.py"]
    paths += root.glob("promote/files/*")
    return digest(
        {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}
    )


def policy_of(config: PromoterConfig, floor: BakeFloor, build: str) -> ConsentPolicy:
    """`build`: the promoter's digest."""
    return ConsentPolicy(
        people=config.people,
        solo=config.solo,
        accept_inconclusive=config.accept_inconclusive,
        promoter_digest=build,
        bake_seconds=floor.seconds,
        bake_turns=floor.turns,
        approvers_needed=config.approvers_needed,
    )


class Promoter:
    """Built once; `serve` returns when it was asked to end."""

    def __init__(self, path: Path, floor: BakeFloor, rules: BakeRules) -> None:
        """`path`: the configuration. Raises ValidationError, OSError."""
        config = load_config(path)
        self.path, self.floor, self.build = path, floor, promoter_digest()
        self.config = config
        config.home.mkdir(parents=True, exist_ok=True)
        self._lock_file = _take_lock(config.home / "promoter.lock")
        self.ledger = Ledger(config.home / "ledger.db")
        self.journal = Journal(self.ledger, KillPoints().reach)
        self.generations = Generations(config.home / "state")
        around = Surroundings(
            service=config.service,
            run=config.home / "run",
            logs=config.home / "logs",
            gateway_dir=config.gateway_dir,
            environment=config.environment,
            limits=Limits(
                processes=config.live.processes,
                memory_bytes=config.live.memory_mib << 20,
                open_files=config.live.open_files,
                file_bytes=config.live.file_mib << 20,
            ),
        )
        self.instances = Instances(
            get_runtime(config.runtime, config.runtime_home, config.docker), self.generations, around
        )
        key, swaps = machine_key(config.checkpoint_key), config.home / "swaps"
        attestor = Attestor(swaps, key, self.instances.runtime.name)
        self.intake = Intake(
            self.journal,
            self.instances,
            self._policy,
            config.home / "bundles",
            attestor,
            has_inbox=config.inbox is not None,
        )
        self._stop = threading.Event()
        self._wake = threading.Event()
        self.problem = ""
        self.parts = Parts(
            journal=self.journal,
            edge=edge_at(config.edge, config.edge_control, config.edge_state),
            instances=self.instances,
            generations=self.generations,
            timing=config.timing,
            disk=config.disk,
            bake=rules,
            hooks=config.hooks,
            recheck=self.intake.recheck,
            scratch=config.home / "scratch",
            swaps=swaps,
            checkpoints=config.checkpoints,
            checkpoint_key=key,
            stopping=self._stop.is_set,
            say=self._say,
            inbox=config.inbox,
        )

    def _policy(self) -> ConsentPolicy:
        """From the configuration as it is now. What else stands in it holds from the start."""
        try:
            return policy_of(load_config(self.path), self.floor, self.build)
        except (OSError, ValidationError) as error:
            raise ConsentRefused(f"{self.path}: {complaint(error)}") from None

    def close(self) -> None:
        self.ledger.close()
        os.close(self._lock_file)

    def stop(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()

    def serve(self) -> None:
        """Recover, then act on what comes, until `stop`."""
        with serve_api(self.config.socket, self.answer):
            pause = _TICK
            while not self._stop.is_set():
                self._wake.clear()
                pause = _TICK if self._act() else min(pause * 2, _LONGEST_PAUSE)
                self._wake.wait(pause)

    def _act(self) -> bool:
        """One look at the ledger and what follows from it. False: it failed and is to be tried again, ever later."""
        try:
            advance(self.parts)
        except Stopping:
            return True
        except LedgerBroken as error:
            self._say(f"the ledger can't be written: {error}")
            self._keep_serving()
            return False
        except Unreachable as error:
            self._say(f"the edge is away: {error}")
            return True  # requests wait for it: looking costs little, and it comes back by itself
        except EngineUnavailable as error:
            self._say(str(error))
            return True  # as for the edge
        except STEP_FAILED as error:
            self._say(f"{type(error).__name__}: {error}")
            return False
        self.problem = ""
        return True

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.error("%s", problem)
        self.problem = problem

    def _keep_serving(self) -> None:
        """Nothing may be changed now, so whoever rightly runs goes on serving."""
        try:
            opened, live = self.journal.open(), self.journal.lkg()
            if opened is not None and (opened.rollback is not None or opened.quarantined is not None):
                return
            meant = opened.candidate if opened is not None and opened.released else live
            writers = self.instances.writers()
            alone = meant is not None and [epoch_of(w) for w in writers] == [meant.epoch]
            if meant is not None and alone and beats(self.instances.run_dir(meant.epoch), meant):
                self.parts.open_gate(meant)
        except (*STEP_FAILED, Unreachable, LedgerBroken) as error:
            log.error("could not keep the service open: %s", error)

    def answer(self, request: dict[str, object]) -> Mapping[str, object]:
        """One request of the API. Raises Rejected, ValueError, KeyError, LedgerBroken."""
        operations: dict[str, Callable[[dict[str, object]], Mapping[str, object]]] = {
            "submit": self._submit,
            "rollback": self._rollback,
            "bootstrap": self._bootstrap,
            "status": self._status,
            "watch": self._watch,
            "record": self._record,
            "shutdown": self._shutdown,
        }
        op = str(request.pop("op"))
        if op not in operations:
            raise ValueError(f"no such operation: {op}")
        return operations[op](request)

    def _submit(self, request: dict[str, object]) -> Mapping[str, object]:
        signed = SignedApproval.model_validate(request["approval"])
        opened = self.intake.submit(signed, Path(str(request["bundle"])))
        self._wake.set()
        return {"swap": opened.swap}

    def _rollback(self, request: dict[str, object]) -> Mapping[str, object]:
        who, reason = str(request["who"]), str(request["reason"])
        swap, discard = request.get("swap"), bool(request.get("discard_writes", False))
        opened = self.intake.ask_rollback(who, reason, None if swap is None else str(swap), discard)
        self._wake.set()
        return {"swap": opened.swap}

    def _bootstrap(self, request: dict[str, object]) -> Mapping[str, object]:
        """The first image and state, by an operator's word: there is nothing to compare it with."""
        image, state = str(request["image"]), request.get("state")
        self.instances.manifest(image)
        with self.ledger.transaction() as txn:
            if txn.pointer("lkg") is not None:
                raise Rejected("an image is installed already; promote the next one")
            self.generations.create(1, Path(str(state)) if state else None)
            live = Live(digest=image, generation=1, epoch=0)
            who, reason = str(request["who"]), str(request["reason"])
            self.journal.row(txn, "", "BOOTSTRAP", "done", who, reason, live=live.model_dump(mode="json"))
            txn.set_pointer("lkg", live.model_dump(mode="json"))
        self._wake.set()
        return {"generation": 1}

    def _status(self, _: dict[str, object]) -> Mapping[str, object]:
        ledger = self.ledger
        return {
            "pid": os.getpid(),
            "promoter_digest": self.build,
            "lkg": ledger.pointer("lkg"),
            "previous": ledger.pointer("previous"),
            "open": ledger.pointer("open"),
            "entries": ledger.head()[0],
            "problem": self.problem,
            "state_dir": self._state_dir(),
        }

    def _state_dir(self) -> str | None:
        """Where the live instance's state lies on this machine: its event log is read from there."""
        opened, live = self.journal.open(), self.journal.lkg()
        if opened is not None and opened.released and opened.candidate is not None:
            live = opened.candidate
        return str(self.generations.data(live.generation)) if live is not None else None

    def _watch(self, request: dict[str, object]) -> Mapping[str, object]:
        """Rows after `after`; waits up to `wait` seconds for one."""
        after, end = int(str(request["after"])), time.monotonic() + min(float(str(request["wait"])), 30.0)
        while True:
            rows = self.ledger.entries(after, limit=500)
            if rows or time.monotonic() >= end or self._stop.is_set():
                return {"entries": [vars(row) for row in rows]}
            time.sleep(0.1)

    def _record(self, request: dict[str, object]) -> Mapping[str, object]:
        """The newest end of a swap, None while it is under way."""
        wanted = str(request["swap"])
        for entry in reversed(self.ledger.entries()):
            if entry.kind == "swap" and entry.data.get("swap") == wanted and "record" in entry.data:
                return {"record": entry.data["record"]}
        return {"record": None}

    def _shutdown(self, request: dict[str, object]) -> Mapping[str, object]:
        """End; with `stop_agent` the live instance ends too, and the next start brings it back."""
        if request.get("stop_agent"):
            if self.journal.open() is not None:
                raise Rejected("a swap is open; wait for its end or roll it back")
            self.stop()
            self.parts.edge.hold()
            self.instances.fence(self.config.timing.stop_grace, self.config.timing.fence_seconds)
            who, reason = str(request.get("who", "")), str(request.get("reason", ""))
            self.ledger.append("agent.stopped", {}, who=who, reason=reason)
        self.stop()
        return {"stopping": True}


def _take_lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
        os.close(descriptor)
        raise AnotherActs(f"another promoter acts here ({holder})") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"pid {os.getpid()} since {int(time.time())}".encode())
    return descriptor


def run(path: Path, floor: BakeFloor, rules: BakeRules) -> int:
    """The process's life, told by the configuration at `path`. Exit codes as for the CLI."""
    try:
        promoter = Promoter(path, floor, rules)
    except ValidationError as error:
        print(f"{path}: {complaint(error)}", file=sys.stderr)
        return 2
    except AnotherActs as error:
        print(f"promoter: {error}", file=sys.stderr)
        return 4
    except (LedgerBroken, KeyRefused, EngineUnavailable, OSError) as error:
        print(f"promoter: {error}", file=sys.stderr)
        return 5
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, promoter.stop)
    try:
        promoter.serve()
    finally:
        promoter.close()
    return 0


def load_config(path: Path) -> PromoterConfig:
    return PromoterConfig.model_validate_json(path.read_bytes())


def main() -> int:
    parser = argparse.ArgumentParser(prog="promote.promoter", description="swaps approved images in")
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if not path.is_file():
        print(f"{path}: not found", file=sys.stderr)
        return 2
    return run(path, BakeFloor(BAKE_FLOOR_SECONDS, BAKE_FLOOR_TURNS), BakeRules())


if __name__ == "__main__":
    sys.exit(main())
