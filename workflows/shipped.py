"""The workflows of `library/`, and the choice among them."""

import json
import re
from functools import cache
from pathlib import Path

from workflows.catalog import Catalog
from workflows.check import check
from workflows.codec import from_json
from workflows.graph import Workflow
from workflows.types import allowed

LIBRARY = Path(__file__).parent / "library"


@cache
def library(folder: Path = LIBRARY) -> tuple[Workflow, ...]:
    """All workflows of a folder, in name order. Raises GraphError."""
    files = sorted(folder.glob("*.json"))
    return tuple(from_json(json.loads(path.read_text(encoding="utf-8"))) for path in files)


def choose(
    text: str, workflows: tuple[Workflow, ...], catalog: Catalog
) -> tuple[Workflow, dict[str, object]] | None:
    """The first workflow, with its inputs, whose trigger fits and that checks clean on these tools."""
    for workflow in workflows:
        inputs = match(workflow, text)
        if inputs is not None and not check(workflow, catalog):
            return workflow, inputs
    return None


def match(workflow: Workflow, text: str) -> dict[str, object] | None:
    """The inputs that the trigger finds in the text, typed as declared; None when it does not fit."""
    found = re.search(workflow.trigger, text, re.IGNORECASE) if workflow.trigger else None
    if found is None:
        return None
    inputs: dict[str, object] = {}
    for name, schema in workflow.inputs.items():
        value = found.groupdict().get(name)
        if value is None:
            return None
        typed = _typed(value, allowed(schema))
        if typed is None:
            return None
        inputs[name] = typed
    return inputs


def _typed(text: str, kinds: frozenset[str]) -> object:
    if "string" in kinds:
        return text
    try:
        return int(text) if "integer" in kinds else float(text) if "number" in kinds else None
    except ValueError:
        return None
