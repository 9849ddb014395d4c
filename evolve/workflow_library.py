"""The workflows that a substrate ships, read from a commit. Their JSON is as hostile as any file that a candidate wrote:
what is none is said, never raised."""

import json
from dataclasses import dataclass
from pathlib import Path

from evolve import worktree
from workflows.codec import GraphError, from_json
from workflows.graph import Workflow
from workflows.points import ENDING

LIBRARY = "workflows/library/"
MOST_BYTES = 256 << 10


@dataclass(frozen=True)
class Shipped:
    """A file of the library."""

    content: bytes
    workflow: Workflow | None
    problem: str = ""
    """Why it is no workflow; hostile text."""


def library_at(repository: Path, commit: str) -> dict[str, Shipped]:
    """By path; the measured points beside a workflow are none. Raises Broken when the commit can't be read."""
    files = worktree.read_files(repository, commit, LIBRARY)
    names = sorted(path for path in files if path.endswith(".json") and not path.endswith(ENDING))
    return {path: _shipped(files[path]) for path in names}


def _shipped(content: bytes) -> Shipped:
    if len(content) > MOST_BYTES:
        return Shipped(content, None, f"larger than {MOST_BYTES} bytes")
    try:
        return Shipped(content, from_json(json.loads(content.decode("utf-8"))))
    except GraphError as error:
        return Shipped(content, None, str(error))
    except (ValueError, RecursionError) as error:
        return Shipped(content, None, f"not JSON: {error}")
