"""Provenance: what a promotion's envelope says, who can check it, and which envelopes are refused."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from evidence.canonical import digest, new_id
from evidence.ledger import Ledger
from promote.approval import Approval, SignedApproval
from promote.attest import (
    PAYLOAD_TYPE,
    AttestationRefused,
    Attestor,
    envelope_path,
    key_id,
    read_envelope,
    seal,
    verify_all,
)
from promote.bundle import write_bundle
from promote.keys import public_text, sign, sign_as

MACHINE, ANNA, BERT = (Ed25519PrivateKey.generate() for _ in range(3))
KEYS = {"anna": public_text(ANNA.public_key()), "bert": public_text(BERT.public_key())}
HEX = {name: letter * 64 for name, letter in zip(("target", "base", "promoter"), "abe", strict=True)}


class Held:
    """An accepted approval's bytes and the attestor that signed for them."""

    def __init__(self, folder: Path) -> None:
        self.bundle = folder / "bundle"
        self.batch = {"graders_digest": digest("graders")}
        self.candidate: dict[str, object] = {"run_id": "run-1"}
        self.report = {"trials_digest": digest("trials")}
        self.attestor = Attestor(folder / "swaps", MACHINE, "bubblewrap")
        self.swap = new_id()

    def signed(self, **changes: object) -> SignedApproval:
        contents: dict[str, object] = {
            "candidate.json": self.candidate,
            "report.json": self.report,
            "batch.json": self.batch,
            "held_out.json": [],
            "diff.patch": b"+\n",
            "workflow_graph.json": {},
            "capability_diff.json": {},
        }
        values: dict[str, object] = {
            "nonce": "n",
            "target_image": "sha256:" + HEX["target"],
            "base_image": "sha256:" + HEX["base"],
            "source_commit": "c" * 40,
            "schema_reads": (1,),
            "schema_writes": 1,
            "rollback_class": "same",
            "policy": "separate",
            "promoter_digest": "sha256:" + HEX["promoter"],
            "requester": "rita",
            "approver": "anna",
            "reason": "good",
            "bake_seconds": 10.0,
            "bake_turns": 50,
            "expires": "2030-01-01T00:00:00+00:00",
            **write_bundle(self.bundle, contents),
            **changes,
        }
        first = sign(Approval.model_validate(values), ANNA)
        return sign_as("bert", first.approval, BERT, first)

    def attest(self) -> str:
        return self.attestor.attest(self.swap, self.signed(), self.bundle, KEYS)

    def check(self) -> None:
        self.attestor.check(self.swap, self.signed(), self.bundle, KEYS)

    @property
    def path(self) -> Path:
        return envelope_path(self.attestor.folder, self.swap)


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path)


def test_a_verifier_that_is_not_ours_accepts_the_envelope_and_reads_the_statement(held: Held) -> None:
    held.attest()
    public = MACHINE.public_key()
    envelope = Envelope.from_dict(json.loads(held.path.read_text()))
    known = SSlibKey(key_id(public), "ed25519", "ed25519", {"public": public.public_bytes_raw().hex()})
    assert envelope.verify([known], 1)
    assert envelope.payload_type == PAYLOAD_TYPE
    statement = json.loads(envelope.payload)
    signed = held.signed()
    sha256 = {
        name: found["digest"].get("sha256")
        for name, found in statement["predicate"].items()
        if isinstance(found, dict) and "digest" in found
    }
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "image", "digest": {"sha256": HEX["target"]}}]
    assert sha256 == {
        "source": None,
        "base": HEX["base"],
        "batch": digest(held.batch)[7:],
        "report": digest(held.report)[7:],
        "trials": digest("trials")[7:],
        "graders": digest("graders")[7:],
        "approval": signed.approval.digest[7:],
    }
    said = statement["predicate"]
    assert (said["run"], said["swap"]) == ("run-1", held.swap)
    assert said["source"] == {"digest": {"gitCommit": "c" * 40}}
    assert said["builder"] == {"promoter": {"digest": {"sha256": HEX["promoter"]}}, "engine": "bubblewrap"}
    assert said["approval"]["approvers"] == [{"name": n, "publicKey": KEYS[n]} for n in ("anna", "bert")]
    envelope.payload = envelope.payload.replace(HEX["target"].encode(), b"f" * 64)
    with pytest.raises(VerificationError):
        envelope.verify([known], 1)


def test_the_same_bytes_give_the_same_envelope_and_pass(held: Held) -> None:
    first = held.attest()
    assert held.attest() == first == digest(held.path.read_bytes())
    held.check()
    assert held.path.read_bytes().count(b"\n") == 1


def _say(held: Held, change: Callable[[dict[str, Any]], object], key: Ed25519PrivateKey = MACHINE) -> None:
    """The kept statement with one change, well signed."""
    _, statement = read_envelope(held.attestor.folder, held.swap, MACHINE.public_key())
    change(statement)
    held.path.write_bytes(seal(statement, key))


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "wrong subject": lambda s: s["subject"][0]["digest"].update(sha256="f" * 64),
    "one more subject": lambda s: s["subject"].append({"name": "x", "digest": {"sha256": "f" * 64}}),
    "no subject": lambda s: s.update(subject=[]),
    "wrong type": lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
    "wrong predicate type": lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"),
    "wrong commit": lambda s: s["predicate"]["source"]["digest"].update(gitCommit="d" * 40),
    "wrong base": lambda s: s["predicate"]["base"]["digest"].update(sha256="f" * 64),
    "wrong batch": lambda s: s["predicate"]["batch"]["digest"].update(sha256="f" * 64),
    "wrong report": lambda s: s["predicate"]["report"]["digest"].update(sha256="f" * 64),
    "wrong trials": lambda s: s["predicate"]["trials"]["digest"].update(sha256="f" * 64),
    "wrong graders": lambda s: s["predicate"]["graders"]["digest"].update(sha256="f" * 64),
    "wrong promoter": lambda s: s["predicate"]["builder"]["promoter"]["digest"].update(sha256="f" * 64),
    "wrong engine": lambda s: s["predicate"]["builder"].update(engine="none"),
    "wrong run": lambda s: s["predicate"].update(run="run-2"),
    "another swap": lambda s: s["predicate"].update(swap="another"),
    "another approval": lambda s: s["predicate"]["approval"]["digest"].update(sha256="f" * 64),
    "one approver less": lambda s: s["predicate"]["approval"]["approvers"].pop(),
    "another's key": lambda s: s["predicate"]["approval"]["approvers"][0].update(publicKey=KEYS["bert"]),
    "a missing step": lambda s: s["predicate"].pop("trials"),
    "an extra material": lambda s: s["predicate"].update(extra={"digest": {"sha256": "f" * 64}}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_statement_that_says_something_else_is_refused_even_when_well_signed(
    held: Held, forgery: str
) -> None:
    held.attest()
    _say(held, FORGERIES[forgery])
    with pytest.raises(AttestationRefused, match=held.swap):
        held.check()


def test_a_missing_altered_or_foreign_envelope_is_refused(held: Held) -> None:
    with pytest.raises(AttestationRefused, match="No such file"):
        held.check()
    held.attest()
    good = held.path.read_bytes()
    _say(held, lambda _: None, key=ANNA)
    with pytest.raises(AttestationRefused, match="not signed by this promoter"):
        held.check()
    envelope = json.loads(good)
    payload = base64.b64decode(envelope["payload"]).replace(HEX["target"].encode(), b"f" * 64)
    held.path.write_text(json.dumps({**envelope, "payload": base64.b64encode(payload).decode()}))
    with pytest.raises(AttestationRefused, match="altered"):
        held.check()
    held.path.write_text(json.dumps({**envelope, "payloadType": "text/plain"}))
    with pytest.raises(AttestationRefused, match="something else"):
        held.check()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"7", b"\xff", b"[" * 100_000, b'{"payload": 1, "signatures": [{}]}']
)
def test_what_is_no_envelope_is_refused_in_one_line(held: Held, data: bytes) -> None:
    held.attest()
    held.path.write_bytes(data)
    with pytest.raises(AttestationRefused, match="no DSSE envelope") as caught:
        held.check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [None, 7, "", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 65, "a" * 64]
)
def test_a_digest_that_is_none_is_never_signed(held: Held, value: object) -> None:
    held.report = {"trials_digest": value}  # type: ignore[dict-item]
    with pytest.raises(AttestationRefused, match=r"report\.json trials_digest"):
        held.attest()
    held.report, held.candidate = {"trials_digest": digest("")}, {}
    with pytest.raises(AttestationRefused, match="run_id"):
        held.attest()
    assert not held.path.exists()


def test_the_ledger_says_which_envelopes_there_must_be(held: Held, tmp_path: Path) -> None:
    public = MACHINE.public_key()
    with Ledger(tmp_path / "ledger.db") as ledger:
        row = {"swap": held.swap, "state": "ACCEPTED", "provenance": held.attest()}
        ledger.append("swap", {"swap": "old", "state": "ACCEPTED"})
        ledger.append("swap", row)
        ledger.append("swap", {"swap": held.swap, "state": "COMMITTED"})
        found = verify_all(ledger.entries(), held.attestor.folder, public)
        assert (found.ok, found.entries) == (True, 1)
        assert "old: accepted before" in found.notes[0]
        _say(held, FORGERIES["wrong commit"])
        changed = verify_all(ledger.entries(), held.attestor.folder, public)
        assert not changed.ok
        assert "not the envelope that was written at ACCEPT" in changed.problems[0]
        held.path.unlink()
        assert not verify_all(ledger.entries(), held.attestor.folder, public).ok
