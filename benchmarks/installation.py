"""Edge and promoter as processes in a folder, and approvals for them: what a swap needs, without the control plane above."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from containers.runtime import Runtime
from evidence.canonical import digest, new_id, utcnow
from promote.approval import Approval
from promote.bundle import write_bundle
from promote.client import PromoterClient
from promote.edge import EmbeddedEdge
from promote.keys import public_text, sign
from promote.records import SwapRecord
from promote.wire import Refused, Unreachable

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
PERSON = "operator"
SECONDS = 60.0


def until(look: Callable[[], T]) -> T:
    """The first true answer."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            if found := look():
                return found
        except (Unreachable, Refused, OSError):
            pass
        if time.monotonic() > end:
            raise SystemExit("a part of the installation never became ready")
        time.sleep(0.02)


class Installation:
    """Serves `image` once made; `close` leaves no process."""

    def __init__(self, home: Path, runtime: Runtime, runtime_home: Path, image: str) -> None:
        self.home, self._runtime, self._key = home, runtime, Ed25519PrivateKey.generate()
        self._service = f"bench-{os.getpid()}"
        self._parts: list[subprocess.Popen[bytes]] = []
        self.client = PromoterClient(home / "p.sock")
        self.edge = EmbeddedEdge(home / "e.sock")
        try:
            self._start(runtime_home)
            self.port = until(lambda: self.edge.status().port)
            until(self.client.status)
            self.client.bootstrap(image, None, PERSON, "first installation")
            until(lambda: not self.edge.status().held)
        except BaseException:
            self.close()
            raise

    def swap(self, target: str) -> tuple[SwapRecord, list[dict[str, object]]]:
        """Approve `target`, swap it in; the record, and the swap's ledger rows."""
        bundle = self.home / "bundles" / new_id()
        signed = sign(self._approval(bundle, target), self._key)
        swap = self.client.submit(signed, bundle)
        record = self.client.wait(swap, SECONDS)
        if record is None or record.state != "committed":
            raise SystemExit(f"the swap did not commit: {record}")
        return record, list(self.client.follow(swap, SECONDS))

    def close(self) -> None:
        for process in self._parts:
            process.kill()
            process.wait()
        for instance in self._runtime.find({"evolve.service": self._service}):
            self._runtime.kill(instance)
            self._runtime.remove(instance)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, runtime_home: Path) -> None:
        home = self.home
        edge = {"port": 0, "control": str(home / "e.sock"), "state_file": str(home / "edge.state")}
        person = {"name": PERSON, "public_key": public_text(self._key.public_key())}
        promoter = {
            "home": str(home / "promote"),
            "checkpoints": str(home / "checkpoints"),
            "checkpoint_key": str(home / "keys" / "ledger.pem"),
            "socket": str(home / "p.sock"),
            "edge_control": str(home / "e.sock"),
            "runtime": "bubblewrap",
            "runtime_home": str(runtime_home),
            "service": self._service,
            "people": [person],
            "solo": True,
            "disk": {"spare_bytes": 1 << 20},
        }
        root = str(ROOT / "benchmarks" / "promoter_root.py")
        self._spawn("edge", edge, ["-m", "promote.edge", "--config"])
        self._spawn("promoter", promoter, [root])

    def _spawn(self, name: str, config: dict[str, object], arguments: list[str]) -> None:
        file = self.home / f"{name}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        with (self.home / f"{name}.log").open("ab") as log:
            command = [sys.executable, *arguments, str(file)]
            self._parts.append(
                subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def _approval(self, bundle: Path, target: str) -> Approval:
        status = self.client.status()
        lkg = status["lkg"]
        assert isinstance(lkg, dict)
        base, batch, diff = str(lkg["digest"]), {"cases": [], "graders_digest": digest({})}, b"--- a\n+++ b\n"
        commit = "c" * 40
        candidate = {
            "run_id": new_id(),
            "image": target,
            "base_image": base,
            "commit": commit,
            "diff_sha256": digest(diff),
            "batch_digest": digest(batch),
        }
        report = {
            "candidate_digest": digest(candidate),
            "candidate_image": target,
            "baseline_image": base,
            "batch_digest": digest(batch),
            "verdict": "converged",
            "trials_digest": digest([]),
        }
        contents: dict[str, bytes | object] = {
            "candidate.json": candidate,
            "report.json": report,
            "batch.json": batch,
            "held_out.json": [],
            "diff.patch": diff,
            "workflow_graph.json": {},
            "capability_diff.json": {"added": [], "removed": []},
        }
        fields: dict[str, object] = {
            "nonce": new_id(),
            "target_image": target,
            "base_image": base,
            "source_commit": commit,
            "schema_reads": (1,),
            "schema_writes": 1,
            "rollback_class": "same",
            "policy": "solo",
            "promoter_digest": status["promoter_digest"],
            "requester": PERSON,
            "approver": PERSON,
            "reason": "a benchmark's swap",
            "bake_seconds": 0.3,
            "bake_turns": 5,
            "expires": (utcnow() + timedelta(hours=1)).isoformat(),
            **write_bundle(bundle, contents),
        }
        return Approval.model_validate(fields)
