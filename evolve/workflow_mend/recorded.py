"""What a coder's task folder tells of requests and tools: recorded traffic, of the visible cases alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflows.catalog import Catalog, ToolSpec, catalog, read_listing
from workflows.graph import Workflow
from workflows.learn import learn
from workflows.results import read_result
from workflows.types import Schema

CASES, TOOLS = "cases.json", "tools.json"


class Unreadable(ValueError):
    """The task folder is not what it should be."""


@dataclass(frozen=True)
class Recorded:
    asked: dict[str, str]
    """Case -> what the user said last."""
    tools: Catalog
    """With types of results learnt from those that were seen."""

    def of(self, workflow: Workflow, every: bool) -> Catalog:
        """What a version of this workflow may call: what it calls or declares already; with `every` all that there is. A
        tool may take anything if nobody recorded what its server has."""
        own = workflow.tools | set(workflow.capabilities or ())
        listed = {spec.server for spec in self.tools}
        named = [key.split("/", 1) for key in sorted(own)]
        unknown = [ToolSpec(server, name) for server, name in named if server not in listed]
        known = [spec for spec in self.tools if every or spec.key in own]
        return catalog([*known, *unknown]).with_learnt(self.tools.learnt)


def read_task(folder: Path) -> Recorded:
    """Raises Unreadable."""
    try:
        cases = json.loads((folder / CASES).read_text(encoding="utf-8"))
        told = json.loads((folder / TOOLS).read_text(encoding="utf-8"))
        asked = {case["id"]: _last_words(case["turn"]["body"]) for case in cases}
        listed = [spec for server, answer in told["listed"].items() for spec in _listing(server, answer)]
        return Recorded(asked, catalog(listed).with_learnt(_learnt(told["calls"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{folder}: {type(error).__name__}: {error}") from None


def _listing(server: str, answer: dict[str, Any]) -> list[ToolSpec]:
    """Of all pages."""
    pages = (page for method, page in answer.items() if method.startswith("tools/list"))
    return [spec for page in pages for spec in read_listing(server, page.get("tools"))]


def _learnt(calls: list[dict[str, Any]]) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for call in calls:
        answer = read_result(call["result"], tool=call["tool"].partition("/")[2])
        if not answer.is_error:
            found[call["tool"]] = learn(found.get(call["tool"]), answer.value)
    return found


def _last_words(body: dict[str, Any]) -> str:
    """As the harness reads them; another service's workflows are not known to us."""
    messages = body.get("messages")
    said = [one for one in messages if one.get("role") == "user"] if isinstance(messages, list) else []
    return str(said[-1].get("content", "")) if said else ""
