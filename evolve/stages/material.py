"""What lies beside every task file: evidence as data, suspects, and a map of the repository as it is now."""

import json
from collections.abc import Sequence

from evolve import worktree
from evolve.context import RunContext
from evolve.stages.models import Suspect
from evolve.substrate_map import draw_map


def material(context: RunContext, commit: str, suspects: Sequence[Suspect]) -> dict[str, str]:
    """Files by name, for a coder that works on an export of `commit`."""
    # Sharpened: a coder that multiplies suspicion with its own priors must not drown in the common path.
    lines = ({"file": s.file, "line": s.line, "score": s.score**2.5} for s in suspects)
    cases = [
        {
            "id": case.id,
            "prelude": [turn.model_dump(mode="json") for turn in case.prelude],
            "turn": case.turn.model_dump(mode="json"),
            "signals": [signal.model_dump(mode="json") for signal in case.signals],
        }
        for case in context.batch.visible
    ]
    sources = worktree.read_files(context.settings.substrate_repository, commit, "")
    return {
        "suspects.jsonl": "".join(json.dumps(line) + "\n" for line in lines),
        "cases.json": json.dumps(cases, indent=1),
        "map.md": draw_map(sources, suspects),
    }
