"""Content-addressed files: named by their SHA-256, written once, verified on every read."""

import hashlib
import os
from pathlib import Path


class BlobError(ValueError):
    """A blob is missing or its bytes are not what its name says."""


class BlobStore:
    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, digest: str) -> Path:
        algorithm, _, name = digest.partition(":")
        if algorithm != "sha256" or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise BlobError(f"not a blob digest: {digest!r}")
        return self.root / name[:2] / name

    def put(self, data: bytes) -> str:
        """Store the bytes durably (file and folder are synced) and return `sha256:<hex>`."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.parent / f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        for folder in (path.parent, self.root):
            _sync(folder)
        return digest

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise BlobError(f"blob {digest} is missing from {self.root}") from None
        if hashlib.sha256(data).hexdigest() != path.name:
            raise BlobError(f"blob {digest} was changed: its bytes have another hash")
        return data


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
