"""Real processes for the promoter's tests: edge, promoter, sandboxed instances of the tiny substrate, clients, people."""

import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from promote_clients import turn
from promote_kinds import export_tiny

from containers.docker_options import DockerOptions
from containers.engine import get_runtime
from containers.runtime import Runtime
from containers.substrate import load_manifest
from evidence.canonical import digest, new_id, utcnow
from evidence.ledger import write_durably
from promote.approval import Approval, SignedApproval
from promote.bundle import write_bundle
from promote.client import PromoterClient
from promote.edges import EDGE_MODULES, edge_at
from promote.haproxy_files import MISSING, REMEDY, find_haproxy
from promote.keys import public_text, sign, sign_as
from promote.records import SwapRecord
from promote.settings import EdgeKind
from promote.wire import Refused, Unreachable

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
LOSSY = {"both": True, "rollback_class": "lossy", "schema_reads": (1, 2), "schema_writes": 2}
"""How `Rig.promote` says that two people approve an image of the `lossy` kinds, for what it is."""


class Images:
    """Each kind built once per test session."""

    def __init__(
        self,
        home: Path,
        substrate: Literal["tiny", "harness"] = "tiny",
        docker: DockerOptions | None = None,
    ) -> None:
        """`docker`: everything on that engine instead of bubblewrap."""
        self.home = home
        self.substrate = substrate
        self.docker = docker
        self._built: dict[str, str] = {}
        self._lock = threading.Lock()

    def digest(self, kind: str) -> str:
        with self._lock:
            if kind not in self._built:
                self._built[kind] = self._build(kind)
            return self._built[kind]

    def build_again(self, kind: str) -> str:
        """The same tree once more, whatever became of the image."""
        with self._lock:
            return self._build(kind)

    def _build(self, kind: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            if self.substrate == "harness":
                from evolve.substrates import export_harness  # the mutants' copy of the house has no evolve

                export_harness(tree)
            else:
                export_tiny(tree, kind)
            (tree / "kind.txt").write_text(kind)
            return self.runtime().build(tree, load_manifest(tree)).digest

    def runtime(self) -> Runtime:
        return get_runtime("auto", self.home, self.docker)


@dataclass
class Rig:
    """One installation in a folder."""

    home: Path
    images: Images
    solo: bool = False
    timing: dict[str, float] = field(default_factory=dict)
    bake_seconds: float = 0.4
    bake_turns: int = 8
    edge_kind: EdgeKind = "embedded"
    hold_seconds: float = 60.0
    hooks: list[dict[str, object]] = field(default_factory=list)
    inbox: bool = False
    """The promoter knows of an ingress, whose database is `inbox_file`."""
    promoter_env: dict[str, str] = field(default_factory=dict)
    file_mib: int = 256
    """Of any one file of the live instance: soon reached by what eats the disk, and by a hundred thousand turns, too."""

    def __post_init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.second = Ed25519PrivateKey.generate()
        self.edge_process: subprocess.Popen[bytes] | None = None
        self.promoter_process: subprocess.Popen[bytes] | None = None
        self.client = PromoterClient(self.home / "run" / "promoter.sock")
        self.edge_state = self.home / "edge" / "state.json"
        self.edge = edge_at(self.edge_kind, self.home / "run" / "edge.sock", self.edge_state)
        self.port = 0
        self.home.mkdir(parents=True, exist_ok=True)
        self.runtime = self.images.runtime()
        self.service = f"tiny-{hashlib.sha256(str(self.home).encode()).hexdigest()[:8]}"

    @property
    def inbox_file(self) -> Path:
        return self.home / "ingress" / "inbox.db"

    def write_configs(self) -> None:
        """Whole files: a running promoter reads its own anew."""
        write_durably(
            self.home / "edge.json",
            json.dumps(
                {
                    "port": self.port,
                    "control": str(self.home / "run" / "edge.sock"),
                    "state_file": str(self.edge_state),
                    "hold_seconds": self.hold_seconds,
                }
            ).encode(),
        )
        timing = {"boot_seconds": 6.0, "turn_seconds": 3.0, "probe_window": 20.0, "probe_interval": 0.0}
        write_durably(
            self.home / "promoter.json",
            json.dumps(
                {
                    "home": str(self.home / "promote"),
                    "checkpoints": str(self.home / "checkpoints"),
                    "checkpoint_key": str(self.home / "keys" / "ledger.pem"),
                    "socket": str(self.home / "run" / "promoter.sock"),
                    "edge": self.edge_kind,
                    "edge_state": str(self.edge_state),
                    "edge_control": str(self.home / "run" / "edge.sock"),
                    "runtime": "auto",
                    "docker": self.images.docker and self.images.docker.model_dump(mode="json"),
                    "runtime_home": str(self.images.home),
                    "service": self.service,
                    "people": [
                        {"name": "paula", "public_key": public_text(self.key.public_key())},
                        {"name": "quinn", "public_key": public_text(self.second.public_key())},
                    ],
                    "solo": self.solo,
                    "timing": {**timing, "drain_seconds": 4.0, "stop_grace": 4.0, **self.timing},
                    "disk": {"spare_bytes": 1 << 20},
                    "live": {"file_mib": self.file_mib},
                    "hooks": self.hooks,
                    "inbox": str(self.inbox_file) if self.inbox else None,
                }
            ).encode(),
        )

    def start_edge(self) -> None:
        self.write_configs()
        self.edge_process = self._spawn(
            ["-m", EDGE_MODULES[self.edge_kind], "--config", str(self.home / "edge.json")], "edge", {}
        )
        self.port = until(lambda: self.edge.status().port, 60.0)

    def start_promoter(self, **env: str) -> None:
        self.write_configs()
        root = str(Path(__file__).with_name("promote_root.py"))
        self.promoter_process = self._spawn(
            [root, "--config", str(self.home / "promoter.json")], "promoter", {**self.promoter_env, **env}
        )

    def _spawn(self, arguments: list[str], name: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env}
        with (self.home / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments], env=kept, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def install(self, kind: str = "base") -> None:
        """Edge, promoter and the first image, serving."""
        self.start_edge()
        self.start_promoter()
        until(self.client.status, 60.0)
        self.client.bootstrap(self.images.digest(kind), None, "otto", "first installation")
        until(lambda: not self.edge.status().held, 60.0)

    def live_image(self) -> str:
        lkg = self.client.status()["lkg"]
        assert isinstance(lkg, dict)
        return str(lkg["digest"])

    def approve(self, target: str, base: str | None = None, **changes: object) -> tuple[SignedApproval, Path]:
        """A good approval with its bundle, unless `changes` (of approval fields) spoil it."""
        base = base or self.live_image()
        folder = self.home / "bundles" / new_id()
        whose = {"promoter_digest": self.client.status()["promoter_digest"], **changes}
        approval = make_approval(folder, target, base, self.bake_seconds, self.bake_turns, whose)
        return sign(approval, self.key), folder

    def promote(self, kind: str, both: bool = False, **changes: object) -> str:
        """`both`: a second person signs, too."""
        signed, bundle = self.approve(self.images.digest(kind), **changes)
        if both:
            signed = sign_as("quinn", signed.approval, self.second, signed)
        return self.client.submit(signed, bundle)

    def finish(self, swap: str, timeout: float = 60.0) -> SwapRecord:
        record = self.client.wait(swap, timeout)
        assert record is not None, f"the swap did not end: {self.tail()}"
        return record

    def tail(self) -> str:
        return (self.home / "promoter.log").read_text()[-3000:]

    def kill_promoter(self) -> None:
        assert self.promoter_process is not None
        self.promoter_process.kill()
        self.promoter_process.wait()

    def ask(
        self,
        text: str,
        session: str,
        request_id: str | None = None,
        timeout: float = 65.0,
        stream: bool = False,
    ) -> tuple[int, dict[str, object]]:
        """One turn over a fresh connection."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            return turn(link, text, session, request_id or new_id(), stream)
        finally:
            link.close()

    def close(self) -> None:
        for process in (self.promoter_process, self.edge_process):
            if process is not None:
                process.kill()
                process.wait()
        for instance in self.runtime.find({"evolve.service": self.service}):
            self.runtime.kill(instance)
            self.runtime.remove(instance)
        self.runtime.keep((), self.service)


def make_approval(
    folder: Path, target: str, base: str, seconds: float, turns: int, changes: Mapping[str, object]
) -> Approval:
    batch: dict[str, object] = {"cases": [], "graders_digest": digest({})}
    diff = b"--- a\n+++ b\n"
    candidate = {
        "run_id": new_id(),
        "image": target,
        "base_image": base,
        "commit": "c" * 40,
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
    fields = write_bundle(
        folder,
        {
            "candidate.json": candidate,
            "report.json": report,
            "batch.json": batch,
            "held_out.json": [],
            "diff.patch": diff,
            "workflow_graph.json": {},
            "capability_diff.json": {"added": [], "removed": []},
        },
    )
    values: dict[str, object] = {
        "nonce": new_id(),
        "target_image": target,
        "base_image": base,
        "source_commit": "c" * 40,
        "schema_reads": (1,),
        "schema_writes": 1,
        "rollback_class": "same",
        "policy": "separate",
        "requester": "rita",
        "approver": "paula",
        "reason": "fixes what failed",
        "bake_seconds": seconds,
        "bake_turns": turns,
        "expires": (utcnow() + timedelta(hours=1)).isoformat(),
        **fields,
        **changes,
    }
    return Approval.model_validate(values)


@contextmanager
def rig_in(folder: Path, images: Images, **options: object) -> Iterator[Rig]:
    rig = Rig(folder, images, **options)  # type: ignore[arg-type]
    try:
        yield rig
    finally:
        rig.close()


@contextmanager
def edge_alone(folder: Path, edge_kind: EdgeKind) -> Iterator[Rig]:
    """A rig of which only the edge runs."""
    with rig_in(folder / "home", Images(folder / "images"), edge_kind=edge_kind) as rig:
        rig.start_edge()
        yield rig


def require_haproxy() -> None:
    require(find_haproxy() is not None, f"{MISSING}; {REMEDY}")


def require(found: bool, remedy: str) -> None:
    """Skips, or fails in CI, where a part is missing."""
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(remedy)


def until(look: Callable[[], T], seconds: float) -> T:
    """The first true answer; trouble on the way is part of waiting."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := look():
                return found
        except (Unreachable, Refused, OSError):
            pass
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
