"""What was changed, for people and for programs."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from evolve.mend.edit import Edit, apply_spans, merged_spans
from evolve.mend.search import Result


@dataclass(frozen=True)
class Change:
    """One edit with the lines it touched, before and after."""

    file: str
    line: int
    operator: str
    before: str
    after: str


def changes(result: Result, sources: Mapping[str, bytes]) -> list[Change]:
    return [_change(edit, sources[edit.file]) for edit in result.edits]


def _change(edit: Edit, data: bytes) -> Change:
    spans = merged_spans([edit])
    old = data.decode("utf-8", "replace").splitlines()
    new = apply_spans(data, spans).decode("utf-8", "replace").splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    hunks = [op for op in matcher.get_opcodes() if op[0] != "equal"]
    before = "\n".join(line for _, start, end, _, _ in hunks for line in old[start:end])
    after = "\n".join(line for _, _, _, start, end in hunks for line in new[start:end])
    line = hunks[0][1] + 1 if hunks else edit.line
    return Change(edit.file, line, edit.operator, before, after)


def unified(result: Result, sources: Mapping[str, bytes]) -> str:
    """The whole change as a patch."""
    parts: list[str] = []
    for name in sorted(result.changed):
        old = sources[name].decode("utf-8", "replace").splitlines(keepends=True)
        new = result.changed[name].decode("utf-8", "replace").splitlines(keepends=True)
        for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"):
            parts.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(parts)


def as_json(result: Result, sources: Mapping[str, bytes], seed: int) -> str:
    record = {
        "status": result.status,
        "edits": [vars(change) for change in changes(result, sources)],
        "diff": unified(result, sources),
        "tried": result.tried,
        "runs": result.runs,
        "seconds": round(result.seconds, 2),
        "seed": seed,
    }
    return json.dumps(record, ensure_ascii=False)


def as_text(result: Result, sources: Mapping[str, bytes]) -> str:
    lines = [f"{result.status}: {result.tried} candidates in {result.runs} runs, {result.seconds:.1f} s"]
    lines += [f"  {c.file}:{c.line} {c.operator}" for c in changes(result, sources)]
    return "\n".join([*lines, unified(result, sources).rstrip("\n")]).rstrip("\n")
