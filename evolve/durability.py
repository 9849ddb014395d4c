"""Which edits make a write less durable. No replay shows it: what was lost shows after a power cut only."""

import re
from collections import Counter
from collections.abc import Iterator

DURABLE = re.compile(
    r"\b(?:fsync|fdatasync|sync_file_range|syncfs|sync|flush)(?=\s*\()|\bO_D?SYNC\b|\bF_FULLFSYNC\b"
    r"|\bsynchronous\s*=?\s*\(?\s*['\"]?(?:FULL|EXTRA|NORMAL|[123])\b",
    re.IGNORECASE,
)
"""A line that has this and goes took durability along."""
LOOSE = re.compile(
    r"\bsynchronous\s*=?\s*\(?\s*['\"]?(?:OFF|NORMAL|[01])\b|\bjournal_mode\s*=?\s*\(?\s*['\"]?(?:OFF|MEMORY)\b"
    r"|\b(?:fsync|synchronous_commit)\s*=\s*['\"]?off\b",
    re.IGNORECASE,
)
"""A line that has this and comes brought the lack of it."""


def less_durable(diff: str) -> list[str]:
    """One sentence's begin for each file and word, from a unified diff. A line that only moved within its file is none; one
    that went deeper or higher may be reached seldom, so it is one."""
    gone: dict[str, Counter[str]] = {}
    come: dict[str, Counter[str]] = {}
    for path, sign, text in _edits(diff):
        (gone if sign == "-" else come).setdefault(path, Counter())[text.rstrip()] += 1
    nothing: Counter[str] = Counter()
    found = [
        f"{path} no longer says {word} where it did"
        for path, lines in gone.items()
        for word in _words(DURABLE, lines - come.get(path, nothing))
    ]
    found += [
        f"{path} now says {word}"
        for path, lines in come.items()
        for word in _words(LOOSE, lines - gone.get(path, nothing))
    ]
    return found


def _words(pattern: re.Pattern[str], lines: Counter[str]) -> list[str]:
    return list(dict.fromkeys(found[0] for line in lines for found in pattern.finditer(line)))


def _edits(diff: str) -> Iterator[tuple[str, str, str]]:
    """(file, - or +, line). Within a hunk a line that begins like a header is none."""
    path, within = "", False
    for line in diff.split("\n"):
        if line.startswith("diff --git "):
            path, within = line.rpartition(" b/")[2], False
        elif line.startswith("@@"):
            within = True
        elif within and line[:1] in ("-", "+"):
            yield path, line[0], line[1:]
