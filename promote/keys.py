"""Ed25519 keys: a person's, encrypted with a passphrase and unlocked per approval; the promoter's, for
checkpoints and provenance."""

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evidence.ledger import write_durably
from promote.approval import Approval, SignedApproval


class KeyRefused(Exception):
    """The key file is missing, is no Ed25519 key, or the passphrase is wrong."""


def create_person_key(path: Path, passphrase: str) -> str:
    """Write a new private key, encrypted, and return the public key to register. Never overwrites."""
    if len(passphrase) < 8:
        raise KeyRefused("a passphrase needs at least 8 characters")
    if path.exists():
        raise KeyRefused(f"{path}: exists already")
    key = Ed25519PrivateKey.generate()
    best = serialization.BestAvailableEncryption(passphrase.encode())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_durably(path, _pem(key, best))
    return public_text(key.public_key())


def unlock(path: Path, passphrase: str) -> Ed25519PrivateKey:
    """A person's key, for one approval. Raises KeyRefused."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode())
    except FileNotFoundError:
        raise KeyRefused(f"{path}: not found") from None
    except (ValueError, TypeError):
        raise KeyRefused(f"{path}: wrong passphrase, or not an encrypted key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(f"{path}: not an Ed25519 key")
    return key


def machine_key(path: Path) -> Ed25519PrivateKey:
    """The unencrypted key that signs checkpoints and provenance; made on first use, readable by its owner alone."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Ed25519PrivateKey.generate()
        write_durably(path, _pem(made, serialization.NoEncryption()))
        os.chmod(path, 0o600)
        return made
    except (ValueError, TypeError):
        raise KeyRefused(f"{path}: not a private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(f"{path}: not an Ed25519 key")
    return key


def public_text(key: Ed25519PublicKey) -> str:
    """32 raw bytes in base64: the form in which people are registered."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise KeyRefused("not a public key: 32 bytes in base64 are expected") from None


def sign(approval: Approval, key: Ed25519PrivateKey, earlier: SignedApproval | None = None) -> SignedApproval:
    """Add `approval.approver`'s signature. A second approver passes their own name through `sign_as`."""
    return sign_as(approval.approver, approval, key, earlier)


def sign_as(
    person: str, approval: Approval, key: Ed25519PrivateKey, earlier: SignedApproval | None = None
) -> SignedApproval:
    """Add a person's signature to those that an approval has already."""
    signatures = dict(earlier.signatures) if earlier is not None else {}
    signatures[person] = base64.b64encode(key.sign(approval.signed_bytes)).decode()
    return SignedApproval(approval=approval, signatures=signatures)


def signed_by(approval: Approval, signature: str, public: str) -> bool:
    """Whether this signature is over exactly these bytes."""
    try:
        public_key(public).verify(base64.b64decode(signature, validate=True), approval.signed_bytes)
    except (InvalidSignature, KeyRefused, ValueError):
        return False
    return True


def _pem(key: Ed25519PrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
