"""The workflows of `library/` with their sets of measured points, and the choice among them."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from workflows.catalog import Catalog
from workflows.check import check
from workflows.codec import digest, from_json
from workflows.graph import Workflow
from workflows.points import ENDING, Point, PointsError, read_points
from workflows.types import allowed

LIBRARY = Path(__file__).parent / "library"


@cache
def library(folder: Path = LIBRARY) -> tuple[Workflow, ...]:
    """All workflows of a folder, in name order. Raises GraphError."""
    files = sorted(path for path in folder.glob("*.json") if not path.name.endswith(ENDING))
    return tuple(from_json(json.loads(path.read_text(encoding="utf-8"))) for path in files)


class Configured(NamedTuple):
    """A point, and the workflow in its configuration."""

    point: Point
    workflow: Workflow


class PointSets(NamedTuple):
    configured: Mapping[str, tuple[Configured, ...]]
    """Workflow's name -> its points."""
    ignored: tuple[str, ...]
    """A line for each file that can't be used."""


@cache
def point_sets(folder: Path = LIBRARY) -> PointSets:
    """The sets that hold for the workflows as they are now."""
    known = {digest(workflow): workflow for workflow in library(folder)}
    configured: dict[str, tuple[Configured, ...]] = {}
    ignored = []
    for path in sorted(folder.glob(f"*{ENDING}")):
        try:
            found = read_points(json.loads(path.read_text(encoding="utf-8")))
            workflow = known.get(found.workflow)
            if workflow is None:
                raise PointsError("made for no workflow that is here as it is now; compile it again")
            pairs = tuple(Configured(point, point.graph) for point in found.points)
            if any(_takes(pair.workflow) != _takes(workflow) for pair in pairs):
                raise PointsError(f"a point takes other inputs than {workflow.name}")
        except (PointsError, OSError, ValueError, RecursionError) as error:
            ignored.append(f"{path.name}: {error}")
        else:
            configured[workflow.name] = pairs
    return PointSets(configured, tuple(ignored))


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


def _takes(workflow: Workflow) -> object:
    return workflow.name, workflow.trigger, workflow.inputs


def _typed(text: str, kinds: frozenset[str]) -> object:
    if "string" in kinds:
        return text
    try:
        return int(text) if "integer" in kinds else float(text) if "number" in kinds else None
    except ValueError:
        return None
