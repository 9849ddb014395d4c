"""What was promoted, made from what, and who agreed: one signed statement for each accepted swap.

An in-toto Statement v1 in a DSSE envelope, signed at ACCEPT with the promoter's machine key, so that tools that know
nothing of this product can check it. Every word is derived from bytes that the promoter holds and none depends on
when it is made: before START it is derived again, and the kept envelope must carry exactly that.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evidence.canonical import canonical_json, digest
from evidence.ledger import Entry, Verification, write_durably
from promote.approval import SignedApproval
from promote.bundle import read_object

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:evolving-harness:promotion:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_FORMS = {
    "sha256": re.compile(r"sha256:([0-9a-f]{64})"),
    "gitCommit": re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})"),
}


class AttestationRefused(Exception):
    """An envelope is missing, altered or foreign, or what it should state is not known."""


@dataclass(frozen=True)
class Attestor:
    """Signs and checks this promoter's statements; the envelopes lie beside the swap records."""

    folder: Path
    key: Ed25519PrivateKey
    engine: str

    def attest(self, swap: str, signed: SignedApproval, bundle: Path, keys: Mapping[str, str]) -> str:
        """Write the envelope durably and return its digest. `keys`: each approver's public key. Raises
        AttestationRefused, BundleRefused, OSError."""
        data = seal(self._statement(swap, signed, bundle, keys), self.key)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(envelope_path(self.folder, swap), data)
        return digest(data)

    def check(self, swap: str, signed: SignedApproval, bundle: Path, keys: Mapping[str, str]) -> None:
        """The kept envelope says exactly what the held bytes say. Raises AttestationRefused, BundleRefused."""
        _, said = read_envelope(self.folder, swap, self.key.public_key())
        if said != self._statement(swap, signed, bundle, keys):
            raise AttestationRefused(f"provenance of swap {swap}: not what the held bytes say; approve again")

    def _statement(
        self, swap: str, signed: SignedApproval, bundle: Path, keys: Mapping[str, str]
    ) -> dict[str, object]:
        approval = signed.approval
        candidate, report, batch = (
            read_object(bundle / name) for name in ("candidate.json", "report.json", "batch.json")
        )
        if unknown := set(signed.signatures) - set(keys):
            raise AttestationRefused(f"no registered key of {', '.join(sorted(unknown))}")
        run = candidate.get("run_id")
        if not isinstance(run, str) or not run:
            raise AttestationRefused("candidate.json run_id: missing")
        predicate: dict[str, object] = {
            "swap": swap,
            "run": run,
            "builder": {"promoter": _resource(approval.promoter_digest, "promoter"), "engine": self.engine},
            "source": _resource(approval.source_commit, "source_commit", "gitCommit"),
            "base": _resource(approval.base_image, "base_image"),
            "batch": _resource(approval.batch_digest, "batch_digest"),
            "report": _resource(approval.report_digest, "report_digest"),
            "trials": _resource(report.get("trials_digest"), "report.json trials_digest"),
            "graders": _resource(batch.get("graders_digest"), "batch.json graders_digest"),
            "approval": {
                **_resource(approval.digest, "approval"),
                "policy": approval.policy,
                "approvers": [{"name": name, "publicKey": keys[name]} for name in sorted(signed.signatures)],
            },
        }
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": "image", **_resource(approval.target_image, "target_image")}],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }


def envelope_path(folder: Path, swap: str) -> Path:
    return folder / f"{swap}.intoto.jsonl"


def seal(statement: Mapping[str, object], key: Ed25519PrivateKey) -> bytes:
    """The statement in a DSSE envelope: one line of JSON."""
    payload = canonical_json(dict(statement))
    signature = {"keyid": key_id(key.public_key()), "sig": _text(key.sign(_signed_bytes(payload)))}
    envelope = {"payload": _text(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}
    return canonical_json(envelope) + b"\n"


def key_id(key: Ed25519PublicKey) -> str:
    """Hex SHA-256 of the 32 raw bytes."""
    return sha256(key.public_bytes_raw()).hexdigest()


def read_envelope(folder: Path, swap: str, key: Ed25519PublicKey) -> tuple[bytes, dict[str, object]]:
    """A swap's envelope as it is kept, and the statement in it. Raises AttestationRefused unless `key` signed it for
    this very swap."""
    where = f"provenance of swap {swap}"
    try:
        data = envelope_path(folder, swap).read_bytes()
    except OSError as error:
        raise AttestationRefused(f"{where}: {error.strerror or error}") from None
    try:
        envelope = json.loads(data)
        payload = base64.b64decode(envelope["payload"], validate=True)
        (signature,) = envelope["signatures"]
        key.verify(base64.b64decode(signature["sig"], validate=True), _signed_bytes(payload))
        statement = json.loads(payload)
        named = statement["predicate"]["swap"]
    except InvalidSignature:
        raise AttestationRefused(f"{where}: altered, or not signed by this promoter's key") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise AttestationRefused(f"{where}: no DSSE envelope with one signature and a statement") from None
    if envelope.get("payloadType") != PAYLOAD_TYPE or named != swap:
        raise AttestationRefused(f"{where}: the envelope belongs to something else")
    return data, dict(statement)


def verify_all(entries: Iterable[Entry], folder: Path, key: Ed25519PublicKey) -> Verification:
    """Every accepted swap of the promoter's ledger has the envelope whose digest its row holds, signed by `key`."""
    problems, notes, count = [], [], 0
    for entry in entries:
        if entry.kind != "swap" or entry.data.get("state") != "ACCEPTED":
            continue
        swap, expected = str(entry.data.get("swap")), entry.data.get("provenance")
        if expected is None:
            notes.append(f"swap {swap}: accepted before provenance was kept")
            continue
        count += 1
        try:
            data, _ = read_envelope(folder, swap, key)
        except AttestationRefused as error:
            problems.append(str(error))
            continue
        if digest(data) != expected:
            problems.append(f"provenance of swap {swap}: not the envelope that was written at ACCEPT")
    return Verification(not problems, count, tuple(problems), tuple(notes))


def _resource(value: object, where: str, algorithm: str = "sha256") -> dict[str, object]:
    """An in-toto resource descriptor: hex digits under their algorithm's name."""
    found = _FORMS[algorithm].fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise AttestationRefused(f"{where}: {value!r} is no {algorithm} digest")
    return {"digest": {algorithm: found[1]}}


def _signed_bytes(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the type is signed too, so no other signature of this key fits."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
