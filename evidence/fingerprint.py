"""Groups failures that are the same failure: what went wrong and where, with everything incidental taken
out.
"""

import re
from collections.abc import Sequence
from typing import Any

from evidence.canonical import digest
from evidence.cases import Signal

_FRAMES = 3
_FRAME = re.compile(r'File "([^"]+)", line \d+, in (\S+)')
_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\[redacted:[a-z_]+:[0-9a-f]+\]"), "<secret>"),
    (re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|“[^”]*”|‘[^’]*’"), "<text>"),
    (re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.I), "<url>"),
    (re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.I), "<id>"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "<id>"),
    (re.compile(r"\b(?:sha256:)?[0-9a-f]{16,}\b|\b0x[0-9a-f]+\b", re.I), "<id>"),
    (re.compile(r"(?<![\w.])(?:[A-Za-z]:\\|~?/|\.{1,2}/)[\w.@+\\/-]+"), "<path>"),
    (re.compile(r"\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]+\b"), "<id>"),
    (re.compile(r"[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?", re.I), "<n>"),
    (re.compile(r"(?:<n>[ ,]*)+"), "<n> "),
    (re.compile(r"\s+"), " "),
)
_RANK = {"exception": 0, "timeout": 1, "tool_error": 2, "rule": 3, "grader": 4, "user_flag": 5}


def normalise(text: str) -> str:
    """The sentence without numbers, ids, quoted text, paths and addresses."""
    for pattern, mark in _STEPS:
        text = pattern.sub(mark, text)
    return text.strip().lower()[:300]


def innermost_frames(traceback: str) -> list[str]:
    """File and function of the last frames, without line numbers and folders that differ between machines."""
    frames = [f"{'/'.join(path.split('/')[-2:])}:{name}" for path, name in _FRAME.findall(traceback)]
    return frames[-_FRAMES:]


def leading(signals: Sequence[Signal]) -> Signal:
    """The signal that names the group: the most telling kind first, the first of its kind."""
    return min(signals, key=lambda s: _RANK[s.kind])


def shape(turn: dict[str, Any]) -> str:
    """What kind of turn it was: its path and the tools that it used, order aside."""
    tools = sorted({str(e.get("tool", "")) for e in turn["events"] if e.get("kind") == "tool_call"})
    return f"{turn['path']} {','.join(tools)}".strip()


def fingerprint(turn: dict[str, Any], signals: Sequence[Signal]) -> str:
    """16 hex characters, equal for turns that failed in the same way."""
    lead = leading(signals)
    parts: list[object] = [lead.kind, lead.name, turn["path"]]
    if lead.kind == "exception":
        error: dict[str, Any] = next((e for e in turn["events"] if e.get("kind") == "error"), {})
        frames = innermost_frames(str(error.get("traceback", "")))
        parts += [str(error.get("where", "")), frames or normalise(str(error.get("message", "")))]
    elif lead.kind in ("tool_error", "rule", "grader"):
        parts.append(normalise(lead.reason))
    elif lead.kind == "user_flag":
        parts.append(shape(turn))  # never the words: whoever flags would choose the group
    return digest(parts).removeprefix("sha256:")[:16]
