"""A proposed fix: a commit, its image, its lineage. Where it came from is recorded; nothing downstream asks."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from evidence.canonical import digest


class Candidate(BaseModel):
    """Frozen between `build` and `trial`; carries the hash of the batch that it answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: Literal[1] = 1
    id: str
    run_id: str
    batch_digest: str
    base_commit: str
    base_image: str
    commit: str
    image: str
    diff_sha256: str
    files: tuple[str, ...]
    lines_added: int
    lines_removed: int
    coder: str
    seed: int
    parents: tuple[str, ...] = ()
    """Candidates that it was made from: none (the baseline), one, or the two of a merge."""

    @property
    def digest(self) -> str:
        return digest(self)
