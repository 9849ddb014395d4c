"""What lies beside every task file: evidence as data, what tools answered, suspects, and a map of the
repository as it is now."""

import json
from collections.abc import Sequence

from evidence.cases import RecordedCall, VisibleCase
from evolve import worktree
from evolve.context import RunContext
from evolve.stages.models import Suspect
from evolve.substrate_map import draw_map

MOST_CALLS, MOST_CHARS = 200, 64_000
"""Recorded calls, and the characters of one, beyond which they are not told."""


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
        "tools.json": json.dumps(_tools(context.batch.visible)),
        "map.md": draw_map(sources, suspects),
    }


def _tools(cases: Sequence[VisibleCase]) -> dict[str, object]:
    """What tool servers say that they have, and what their tools answered."""
    listed: dict[str, object] = {}
    for case in cases:
        listed |= case.cassette.catalog
    calls = [told for case in cases for call in case.cassette.calls if (told := _told(call)) is not None]
    return {"listed": listed, "calls": calls[:MOST_CALLS]}


def _told(call: RecordedCall) -> dict[str, object] | None:
    """A tool call that was answered; None for any other, and for one that is too long to be read."""
    if call.kind != "tool" or "#" in call.target or not isinstance(call.request, dict):
        return None
    answer = call.response if isinstance(call.response, dict) else {}
    result = answer.get("result", answer)
    told = {"tool": call.target, "arguments": call.request.get("arguments", {}), "result": result}
    return told if "error" not in answer and len(json.dumps(told)) <= MOST_CHARS else None
