"""What one run of the test command said."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_REPORT = 16 << 20
NOT_RUNNABLE = (126, 127)


@dataclass(frozen=True)
class Outcome:
    """`tests` maps test ids to passed or not; empty when the command tells nothing but its exit code."""

    exit_code: int | None
    """None: stopped by the time limit."""
    seconds: float
    tests: Mapping[str, bool] = field(default_factory=dict)
    output: str = ""

    @property
    def passed(self) -> bool:
        return self.exit_code == 0

    @property
    def failing(self) -> frozenset[str]:
        return frozenset(test for test, passed in self.tests.items() if not passed)

    @property
    def runnable(self) -> bool:
        return self.exit_code not in NOT_RUNNABLE


def read_results(lines: Path) -> dict[str, bool]:
    """Results as our pytest plugin writes them; half a last line is left out."""
    found: dict[str, bool] = {}
    for line in _text(lines).splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            found[record["id"]] = record.get("outcome") == "passed" and found.get(record["id"], True)
    return found


def read_junit(report: Path) -> dict[str, bool]:
    """Results of a JUnit XML file; none from one that is missing, broken, huge or has a document type."""
    text = _text(report)
    if not text or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return {}
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return {}
    found: dict[str, bool] = {}
    for case in root.iter("testcase"):
        name, group = case.get("name", ""), case.get("classname", "")
        bad = any(case.find(kind) is not None for kind in ("failure", "error"))
        key = f"{group}::{name}" if group else name
        found[key] = not bad and found.get(key, True)
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_REPORT:
            return ""
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
