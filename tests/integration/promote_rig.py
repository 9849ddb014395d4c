"""Real processes for the promoter's tests: edge, promoter, sandboxed instances of the tiny substrate, clients, people."""

import hashlib
import http.client
import json
import os
import re
import shutil
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
from promote_kinds import KINDS

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
TINY = ROOT / "harness" / "tiny"
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
                shutil.copytree(TINY, tree, ignore=shutil.ignore_patterns("__pycache__"))
            for name, old, new in KINDS[kind] if self.substrate == "tiny" else ():
                path = tree / name
                text = path.read_text(encoding="utf-8")
                assert old in text, f"{kind}: {old!r} is not in {name}"
                path.write_text(text.replace(old, new, 1), encoding="utf-8")
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


def turn(
    link: http.client.HTTPConnection, text: str, session: str, request_id: str, stream: bool = False
) -> tuple[int, dict[str, object]]:
    body = json.dumps({"messages": [{"role": "user", "content": text}], "stream": stream})
    headers = {"content-type": "application/json", "x-session": session, "x-request-id": request_id}
    link.request("POST", "/v1/chat/completions", body, headers)
    answer = link.getresponse()
    data = answer.read()
    if stream and answer.status == 200:
        first = data.split(b"\n\n", 1)[0].removeprefix(b"data: ")
        assert data.rstrip().endswith(b"data: [DONE]"), "a stream was cut"
        return answer.status, dict(json.loads(first))
    return answer.status, dict(json.loads(data))


@dataclass
class Sent:
    request_id: str
    session: str
    status: int
    count: int
    seconds: float
    at: float
    """When the answer was there, by the wall clock, as the ledger's rows tell it."""


class Traffic:
    """Clients that send numbered turns without pause; some keep their connection, some stream. `again`: one whose
    connection broke asks again, with the same id, for a minute: so does a client whose edge was killed."""

    def __init__(self, rig: Rig, clients: int = 4, pause: float = 0.01, again: bool = False) -> None:
        self.rig, self.pause = rig, pause
        self._patience = 60.0 if again else 0.0
        self._tiny = rig.images.substrate == "tiny"
        self.sent: list[Sent] = []
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        session = f"client-{number}-{new_id()}"
        keep, stream = number % 2 == 0, number % 4 == 3
        link: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            request_id, started = new_id(), time.monotonic()
            while True:
                link = link or http.client.HTTPConnection("127.0.0.1", self.rig.port, timeout=65)
                try:
                    said = f"echo {request_id}" if self._tiny else f"/remember {request_id}"
                    status, reply = turn(link, said, session, request_id, stream)
                    applied = reply.get("applied")
                    count = int(applied["count"]) if isinstance(applied, dict) else len(self.sent) + 1
                    with self._lock:
                        took, now = time.monotonic() - started, time.time()
                        self.sent.append(Sent(request_id, session, status, count, took, now))
                    break
                except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
                    link.close()
                    link = None
                    if time.monotonic() - started >= self._patience:
                        with self._lock:
                            self.errors.append(f"{type(error).__name__}: {error}")
                        break
                    time.sleep(0.05)
            if not keep and link is not None:
                link.close()
                link = None
            time.sleep(self.pause)
        if link is not None:
            link.close()

    def _applied(self, session: str) -> list[str]:
        """The ids that took effect, in order, as the service tells them."""
        if not self._tiny:
            _, reply = self.rig.ask("/recall", session)
            return re.findall(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", str(reply["choices"]))
        link = http.client.HTTPConnection("127.0.0.1", self.rig.port, timeout=20)
        try:
            link.request("GET", f"/v1/sessions/{session}")
            return list(json.loads(link.getresponse().read())["applied"])
        finally:
            link.close()

    def lost_or_doubled(self) -> list[str]:
        """What the service's own list of applied ids says against what the clients were told."""
        problems = list(self.errors)
        for session in sorted({item.session for item in self.sent}):
            mine = [item for item in self.sent if item.session == session and item.status == 200]
            applied = self._applied(session)
            if len(set(applied)) != len(applied):
                problems.append(f"{session}: doubled")
            missing = {item.request_id for item in mine} - set(applied)
            if missing:
                problems.append(f"{session}: {len(missing)} answered requests are not in the state")
            counts = [item.count for item in mine]
            if counts != sorted(set(counts)):
                problems.append(f"{session}: counts {counts} are not in order")
        return problems


@contextmanager
def rig_in(folder: Path, images: Images, **options: object) -> Iterator[Rig]:
    rig = Rig(folder, images, **options)  # type: ignore[arg-type]
    try:
        yield rig
    finally:
        rig.close()


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
