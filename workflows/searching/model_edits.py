"""Edits of a workflow from a model: it sees the plan, what became of it and a few tools, and answers with edits in a small
form, held to a JSON Schema where the server can. What it says is read as data; an edit that fits nothing is left out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workflows.catalog import Catalog
from workflows.edits import Bind, Edit, EditError, Remove, RunAfter, SwapTool, Unbind, apply_all
from workflows.graph import Argument, Call, OutputNode, ToolNode, Workflow
from workflows.model import ChatModel, ModelFailed
from workflows.plan import PlanError, from_plan, to_plan
from workflows.planner import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_ERRORS,
    REQUEST,
    SHOWN_ERROR,
    TOOL,
    TOOLS,
    TOOLS_HEAD,
    PlannerFailed,
    read_object,
    shown_tools,
)
from workflows.repairs import swap
from workflows.reshaping import Add
from workflows.signature import one_line, signature

MOST_EDITS = 6
MAX_TOKENS = 512
FORM = """You mend a plan of tool calls. Answer with one JSON object and nothing else: {"edits": [...]}. An edit is one of
{"do": "call", "step": "s1", "value": "server/tool"}: the step calls another tool; a new step is added
{"do": "set", "step": "s1", "name": "path", "value": "a.txt"}: an argument; "{s0.field}" stands for a part of a result
{"do": "drop", "step": "s1", "name": "path"}: leave an argument out
{"do": "remove", "step": "s1"}: leave a step out
{"do": "after", "step": "s1", "value": "s0"}: run it after another
{"do": "answer", "value": "It says {s1.field}"}: another answer"""
DEEDS = ("call", "set", "drop", "remove", "after", "answer")
_NAME = {"type": "string", "maxLength": LONGEST_NAME}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "edits": {
            "type": "array",
            "maxItems": MOST_EDITS,
            "items": {
                "type": "object",
                "properties": {
                    "do": {"enum": list(DEEDS)},
                    "step": _NAME,
                    "name": _NAME,
                    "value": {
                        "anyOf": [
                            {"type": "string", "maxLength": LONGEST_TEXT},
                            {"type": ["number", "boolean", "null"]},
                            {
                                "type": "array",
                                "items": {"type": "string", "maxLength": LONGEST_NAME},
                                "maxItems": 8,
                            },
                        ]
                    },
                },
                "required": ["do"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["edits"],
    "additionalProperties": False,
}
PLAN, CAME = "Plan: ", "What became of it:"


class Edited(NamedTuple):
    workflow: Workflow
    """Not checked."""
    edits: tuple[Edit, ...]


async def ask_for_edits(
    model: ChatModel, catalog: Catalog, request: str, workflow: Workflow, errors: Sequence[str]
) -> Edited:
    """Raises PlannerFailed: no answer, or none that changes anything."""
    question = messages(catalog, request, workflow, errors)
    try:
        said = await model.complete(question, schema=SCHEMA, max_tokens=MAX_TOKENS)
    except ModelFailed as error:
        raise PlannerFailed(str(error)) from None
    found = read_object(said.text).get("edits")
    edited = read_edits(found if isinstance(found, list) else [], workflow, catalog)
    if not edited.edits:
        raise PlannerFailed("none of the edits fits the plan", said.text)
    return edited


def messages(
    catalog: Catalog, request: str, workflow: Workflow, errors: Sequence[str]
) -> list[dict[str, str]]:
    shown = {spec.key: spec for spec in shown_tools(catalog, request, TOOLS)}
    shown |= {key: catalog.tools[key] for key in sorted(workflow.tools) if key in catalog.tools}
    try:
        plan = json.dumps(to_plan(workflow), ensure_ascii=False)
    except PlanError:  # it has steps that a plan can't say: those that it can
        plan = json.dumps(to_plan(_plain(workflow)), ensure_ascii=False)
    tools = [TOOL + signature(spec, catalog.output(spec.key)) for spec in shown.values()]
    came = [TOOL + one_line(error, SHOWN_ERROR) for error in errors[:MOST_ERRORS]]
    lines = [TOOLS_HEAD, *tools, REQUEST + request, PLAN + plan, CAME, *came]
    return [{"role": "system", "content": FORM}, {"role": "user", "content": "\n".join(lines)}]


def read_edits(said: Sequence[object], workflow: Workflow, catalog: Catalog) -> Edited:
    """Those that fit, one after the other."""
    edits: list[Edit] = []
    for table in said[:MOST_EDITS]:
        if not isinstance(table, dict):
            continue
        try:
            new = _edits(table, workflow, catalog)
            workflow = apply_all(new, workflow)
        except (EditError, PlanError, KeyError, TypeError):
            continue
        edits += new
    return Edited(workflow, tuple(edits))


def _edits(table: Mapping[str, Any], workflow: Workflow, catalog: Catalog) -> list[Edit]:
    """Raises EditError, PlanError, KeyError, TypeError: what was said is no edit."""
    deed = table["do"]
    if deed == "answer":
        return _answer(str(table["value"]), workflow)
    step = str(table["step"])
    match deed:
        case "call":
            return [_call(step, str(table["value"]), workflow, catalog)]
        case "set":
            return [Bind(step, f"arguments.{table['name']}", _argument(table["value"]))]
        case "drop":
            return [Unbind(step, f"arguments.{table['name']}")]
        case "remove":
            return [Remove(step)]
        case "after":
            return [RunAfter(step, str(table["value"]))]
    raise EditError(f"there is no edit {deed!r}")


def _call(step: str, tool: str, workflow: Workflow, catalog: Catalog) -> Edit:
    node, spec = workflow.node(step), catalog.get(tool)
    if node is None:
        plan = {"steps": [{"id": step, "tool": tool, "arguments": {}}], "answer": ""}
        return Add(from_plan(plan).nodes[0])
    if not isinstance(node, ToolNode):
        raise EditError(f"{step} calls no tool")
    return swap(step, "", Call(node.tool, node.arguments), spec) if spec else SwapTool(step, "", tool)


def _argument(value: object) -> Argument:
    """As in a plan."""
    plan = {"steps": [{"id": "x", "tool": "x/x", "arguments": {"v": value}}], "answer": ""}
    [node, *_] = from_plan(plan).nodes
    assert isinstance(node, ToolNode)
    return node.arguments["v"]


def _answer(text: str, workflow: Workflow) -> list[Edit]:
    old = next((node for node in workflow.nodes if isinstance(node, OutputNode)), None)
    [new] = from_plan({"steps": [], "answer": text}).nodes
    assert isinstance(new, OutputNode)
    return [*([Remove(old.id)] if old else []), Add(new)]


def _plain(workflow: Workflow) -> Workflow:
    return Workflow(workflow.name, "", tuple(node for node in workflow.nodes if _sayable(node)))


def _sayable(node: object) -> bool:
    if isinstance(node, ToolNode):
        return not (node.when or node.requires or node.ensures)
    return isinstance(node, OutputNode)
