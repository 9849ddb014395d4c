"""Ways to consent without being asked: code in a candidate, in the live agent, in a coder's sandbox, and whatever a process
of the same user can do without the passphrase. The promoter that is attacked is a real one, listening."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from containers_tiny import ask, build_tiny, environment, shard, until
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from promote_rig import Images, Rig, rig_in

from containers.runtime import ImageRef, Runtime
from evidence.canonical import canonical_json, utcnow
from evidence.ledger import Ledger
from evolve.coding.command import CommandCoder
from evolve.coding.protocol import CodingBudget, CodingSandbox, CodingTask
from promote.approval import SignedApproval
from promote.generations import Generations
from promote.keys import KeyRefused, create_person_key, sign, sign_as, unlock
from promote.live import Instances, Surroundings
from promote.records import Live
from promote.wire import Refused

ATTACK = r"""
import glob, json, os, pathlib, socket, stat, subprocess, sys

def loot(told):
    found = {}
    def attempt(name, action):
        try:
            found[name] = repr(action())[:300]
        except BaseException:
            pass
    def speak(path):
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(3)
            link.connect(path)
            link.sendall(json.dumps({"op": "status"}).encode() + b"\n")
            return path
    def hook(port):
        with socket.create_connection(("127.0.0.1", port), 3) as link:
            return link.getpeername()
    def drop(path):
        os.makedirs(path, exist_ok=True)
        return pathlib.Path(path, "approval.json").write_bytes(told["approval"].encode())
    def mark(where):
        for name in glob.glob(where):
            try:
                if told["mark"].encode() in pathlib.Path(name).read_bytes():
                    return where
            except OSError:
                pass
        raise LookupError
    for what, path in told["sockets"].items():
        attempt("speaks to " + what, lambda: speak(path))
        for root in glob.glob("/proc/[0-9]*/root"):
            attempt("speaks to " + what, lambda: speak(root + path))
    for port in told["ports"]:
        attempt("connects to a port of the host", lambda: hook(port))
    for what, path in told["files"].items():
        attempt("reads " + what, lambda: open(path, "rb").read(10))
        for root in glob.glob("/proc/[0-9]*/root"):
            attempt("reads " + what, lambda: open(root + path, "rb").read(10))
    try:
        drop(told["approvals"] + "/forged")  # what came of it is judged outside
    except OSError:
        pass
    attempt("knows the starter's variables", lambda: mark("/proc/self/environ"))
    attempt("knows another's variables", lambda: mark("/proc/[0-9]*/environ"))
    attempt("has the product's code", lambda: subprocess.run(
        [sys.executable, "-c", "import promote.keys, evolve.consent"], check=True, capture_output=True))
    return found
"""
MARK = "a-passphrase-that-somebody-exported"
PASSPHRASE = "correct horse"


@dataclass
class Target:
    """A home with a listening promoter, a person's key, and a folder for approvals."""

    rig: Rig
    told: dict[str, Any]

    @property
    def decided(self) -> list[str]:
        """What the promoter ever accepted; what lies where approvals are looked for."""
        with Ledger(self.rig.home / "promote" / "ledger.db", create=False) as ledger:
            accepted = [
                str(e.data) for e in ledger.entries() if e.data.get("state") in ("ACCEPTED", "RB_ASKED")
            ]
        return accepted + [str(p) for p in Path(self.told["approvals"]).iterdir()]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("ways")
    images = Images(folder / "images")
    with ExitStack() as stack:
        rig = stack.enter_context(rig_in(folder / "rig", images))
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        # Files have owners and modes, too; that nothing is shown inside must hold without them.
        unguarded = Path(stack.enter_context(TemporaryDirectory(prefix="ways-open-")))
        unguarded.chmod(0o755)
        (unguarded / "note").write_text("for everybody")
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(unguarded / "any.sock"))
        listener.listen()
        (unguarded / "any.sock").chmod(0o777)
        rig.install("base")
        create_person_key(rig.home / "keys" / "paula.pem", PASSPHRASE)
        (rig.home / "approvals").mkdir()
        told = {
            "sockets": {
                **{name: str(rig.home / "run" / f"{name}.sock") for name in ("promoter", "edge")},
                "what listens for everybody": str(unguarded / "any.sock"),
            },
            "files": {
                "what anybody may read": str(unguarded / "note"),
                "the person's key": str(rig.home / "keys" / "paula.pem"),
                "the promoter's ledger": str(rig.home / "promote" / "ledger.db"),
                "who may approve": str(rig.home / "promoter.json"),
            },
            "approvals": str(rig.home / "approvals"),
            "ports": [port.getsockname()[1], rig.port],
            "mark": MARK,
            "approval": "{}",
        }
        yield Target(rig, told)


@pytest.fixture(autouse=True)
def exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOLVE_SOMETHING", MARK)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runtime, ImageRef]:
    """An image whose service runs what it is sent: the worst candidate."""
    home = tmp_path_factory.mktemp("worst")
    return build_tiny(home / "home", home / "tree")


def code(target: Target) -> str:
    return f"{ATTACK}\nresult = loot({target.told!r})"


def test_the_attack_finds_everything_where_nothing_is_in_its_way(target: Target) -> None:
    """Else the tests below would show nothing."""
    program = f"{ATTACK}\nprint(json.dumps(loot({target.told!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) == {
        "speaks to promoter",
        "speaks to edge",
        "speaks to what listens for everybody",
        "connects to a port of the host",
        "reads what anybody may read",
        "reads the person's key",
        "reads the promoter's ledger",
        "reads who may approve",
        "knows the starter's variables",
        "knows another's variables",
        "has the product's code",
    }
    dropped = Path(target.told["approvals"]) / "forged" / "approval.json"
    assert target.decided == [str(dropped.parent)]
    dropped.unlink()
    dropped.parent.rmdir()


def test_a_candidate_in_a_trial_reaches_nothing(
    target: Target, service: tuple[Runtime, ImageRef], tmp_path: Path
) -> None:
    runtime, image = service
    with shard(runtime, image, tmp_path / "w") as one:
        assert ask(one.begin(environment()), code(target))["result"] == {}
        one.end()
    assert target.decided == []


def test_the_live_agent_reaches_nothing(
    target: Target, service: tuple[Runtime, ImageRef], tmp_path: Path
) -> None:
    runtime, image = service
    generations = Generations(tmp_path / "state")
    generations.create(1, None)
    around = Surroundings("worst", tmp_path / "run", tmp_path / "logs", None, {})
    instances = Instances(runtime, generations, around)
    live = Live(digest=image.digest, generation=1, epoch=1, boot_nonce="n")
    instances.start(live)
    try:
        path = instances.run_dir(1) / "agent.sock"
        assert until(path.exists)
        assert ask(path, code(target))["result"] == {}
    finally:
        instances.fence(1.0, 20.0)
    assert target.decided == []


def test_a_coder_reaches_nothing(target: Target, service: tuple[Runtime, ImageRef], tmp_path: Path) -> None:
    """With its own sockets and the host's tools, the started process's variables not among them."""
    for name in ("tree", "check", "scratch"):
        (tmp_path / name).mkdir()
    program = f"{ATTACK}\nopen('loot.json', 'w').write(json.dumps(loot({target.told!r})))"
    coder = CommandCoder(
        "thief",
        (
            f"{sys.base_prefix}/bin/python3",
            "-I",
            "-c",
            program,
        ),
    )
    result = coder.run(
        CodingTask("mend it"),
        tmp_path / "tree",
        sandbox=CodingSandbox(service[0], tmp_path / "scratch", tmp_path / "check", tmp_path / "audit"),
        budget=CodingBudget(60),
    )
    assert result.outcome == "edited", result
    assert json.loads((tmp_path / "tree" / "loot.json").read_text()) == {}
    assert target.decided == []


def test_a_process_of_the_same_user_lacks_the_signature(target: Target) -> None:
    """A worker, a tool server, whoever: they read every file and reach the socket, and what they hand in is refused."""
    rig = target.rig
    key, own = rig.home / "keys" / "paula.pem", Ed25519PrivateKey.generate()
    for guess in ("", "paula", rig.home.name, PASSPHRASE.upper()):
        with pytest.raises(KeyRefused):
            unlock(key, guess)
    good, base = rig.images.digest("good"), rig.live_image()
    honest, bundle = rig.approve(good)
    other, other_bundle = rig.approve(good, reason="another one")
    by_stranger = sign(honest.approval, own)
    forged: list[tuple[str, SignedApproval, Path]] = [
        ("not over these bytes", by_stranger, bundle),
        ("not over these bytes", other.model_copy(update={"signatures": honest.signatures}), other_bundle),
        ("did not sign", honest.model_copy(update={"signatures": {}}), bundle),
        (
            "did not sign",
            honest.model_copy(update={"signatures": {"mallory": by_stranger.signatures["paula"]}}),
            bundle,
        ),
        ("not registered", sign_as("mallory", honest.approval, own, honest), bundle),
        ("quinn's signature", sign_as("quinn", honest.approval, own, honest), bundle),
    ]
    for changes in ({"approver": "mallory"}, {"approver": "agent", "requester": "agent", "policy": "solo"}):
        approval = honest.approval.model_copy(update=changes)
        forged.append(("not registered", sign(approval, own), bundle))
    forged.append(("no longer live", *rig.approve(base, base=good)))
    forged.append(("expired", *rig.approve(good, expires=(utcnow() - timedelta(hours=1)).isoformat())))
    for why, signed, folder in forged:
        with pytest.raises(Refused, match=why):
            rig.client.submit(signed, folder)
    assert target.decided == []
    (bundle / "report.json").write_bytes(canonical_json({"verdict": "converged"}))
    with pytest.raises(Refused, match=r"report\.json"):
        rig.client.submit(honest, bundle)
    assert target.decided == []
