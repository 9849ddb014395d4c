"""Stored bytes for looking at: read by their digest, and what can't be read is remembered, never raised."""

import json
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from evidence.blobs import BlobError, BlobStore
from evidence.canonical import digest
from evidence.cases import SealedBatch
from trial.report import Trial

Model = TypeVar("Model", bound=BaseModel)


class Shelf:
    """Reads blobs by digest and remembers what could not be read."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.problems: list[str] = []

    def data(self, what: str, blob: str | None) -> bytes:
        if not blob:
            return b""
        try:
            return self._blobs.get(blob)
        except (BlobError, OSError) as error:
            self.problems.append(f"{what}: {error}")
            return b""

    def model(self, what: str, blob: str | None, shape: type[Model]) -> Model | None:
        data = self.data(what, blob)
        if not data:
            return None
        try:
            return shape.model_validate_json(data)
        except ValidationError as error:
            self.problems.append(f"{what}: not what this version stores ({error.error_count()} fields)")
            return None

    def trials(self, blob: str | None) -> tuple[tuple[Trial, ...], str]:
        """With their hash, which is over what was stored: a field that came later is not in it."""
        data = self.data("trials", blob)
        if not data:
            return (), ""
        try:
            return tuple(_TRIALS.validate_json(data)), digest(json.loads(data))
        except ValidationError as error:
            self.problems.append(f"trials: not what this version stores ({error.error_count()} fields)")
            return (), ""

    def batch(self, batch_digest: str) -> SealedBatch | None:
        if not batch_digest:
            return None
        try:
            return _sealed(str(self._blobs.root), batch_digest)
        except (BlobError, OSError) as error:
            self.problems.append(f"batch: {error}")
        except ValidationError as error:
            self.problems.append(f"batch: not what this version stores ({error.error_count()} fields)")
        return None


_TRIALS = TypeAdapter(list[Trial])


@lru_cache(maxsize=4)
def _sealed(root: str, batch_digest: str) -> SealedBatch:
    """Sealed batches are large and never change: the few that are looked at stay in memory."""
    return SealedBatch.model_validate_json(BlobStore(Path(root)).get(batch_digest))
