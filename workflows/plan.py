"""A plan: the small form in which a model writes a workflow. Steps that call tools, one after the other or at once, and
an answer.

`{"steps": [{"id": "s1", "tool": "server/tool", "arguments": {"path": "a.txt", "text": "{s0.content}"}}], "answer": "It
says {s1}."}`

A string that is one `{step.path}` and nothing else refers to that result, with its type; `{{` and `}}` are braces.
Strings inside lists and objects are literal. What a plan can't say (branches, maps, policies), edits of the workflow can.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from workflows.codec import GraphError, from_json
from workflows.graph import NAME, TEMPLATE, Argument, OutputNode, Ref, ToolNode, Workflow

REFERENCE = re.compile(rf"(?<!\{{)\{{({NAME}(?:\.[^{{}}]+)?)\}}(?!\}})")
OUTPUT = "answer"
MOST_STEPS = 32

PLAN_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "steps": {
            "type": "array",
            "maxItems": MOST_STEPS,
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "tool": {"type": "string"},
                    "arguments": {"type": "object"},
                    "after": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["id", "tool", "arguments"],
                "additionalProperties": False,
            },
        },
        "answer": {"type": "string"},
    },
    "required": ["steps", "answer"],
    "additionalProperties": False,
}
"""For servers that hold a model to a schema."""


class PlanError(ValueError):
    """What the model wrote is no plan; the message names the place."""


def from_plan(
    plan: object, name: str = "plan", inputs: Mapping[str, Mapping[str, object]] | None = None
) -> Workflow:
    """The workflow that a plan describes. It is not checked: unknown tools and lost references are for `check`. Raises
    PlanError."""
    steps = plan.get("steps") if isinstance(plan, dict) else None
    answer = plan.get("answer") if isinstance(plan, dict) else None
    if not isinstance(steps, list) or not isinstance(answer, str):
        raise PlanError("plan: expected an object with `steps` (a list) and `answer` (a text)")
    if len(steps) > MOST_STEPS:
        raise PlanError(f"steps: at most {MOST_STEPS}, found {len(steps)}")
    nodes = [_node(step, f"steps[{index}]") for index, step in enumerate(steps)]
    table = {
        "v": 1,
        "name": name,
        "description": "",
        "inputs": dict(inputs or {}),
        "nodes": [*nodes, _output(answer)],
    }
    try:
        return from_json(table)
    except GraphError as error:
        raise PlanError(str(error)) from None


def to_plan(workflow: Workflow) -> dict[str, object]:
    """The plan of a workflow of tool steps and an output. Raises PlanError for one that a plan can't say."""
    steps, answer = [], ""
    for node in workflow.nodes:
        if isinstance(node, ToolNode) and not (node.when or node.requires or node.ensures):
            arguments = {name: _written(argument) for name, argument in node.arguments.items()}
            after = {"after": list(node.after)} if node.after else {}
            steps.append({"id": node.id, "tool": node.tool, "arguments": arguments, **after})
        elif isinstance(node, OutputNode):
            answer = TEMPLATE.sub(partial(_shown, node), node.text)
        else:
            raise PlanError(f"{node.id}: a plan has no {node.kind} steps, conditions or policies")
    return {"steps": steps, "answer": answer}


def _node(step: object, where: str) -> dict[str, object]:
    if not isinstance(step, dict):
        raise PlanError(f"{where}: expected an object, found {type(step).__name__}")
    arguments = step.get("arguments", {})
    if not isinstance(arguments, dict):
        raise PlanError(f"{where}.arguments: expected an object, found {type(arguments).__name__}")
    read = {name: _read(value) for name, value in arguments.items()}
    return {**step, "kind": "tool", "arguments": read}


def _read(value: object) -> dict[str, object]:
    if isinstance(value, str):
        found = REFERENCE.fullmatch(value)
        return {"ref": found[1]} if found else {"value": value.replace("{{", "{").replace("}}", "}")}
    return {"value": value}


def _output(answer: str) -> dict[str, object]:
    """Each place that the answer refers to gets a name; a brace that is no reference is a brace."""
    names: dict[str, str] = {}
    text, end = "", 0
    for match in REFERENCE.finditer(answer):
        text += _braces(answer[end : match.start()])
        text += "{" + names.setdefault(match[1], f"v{len(names)}") + "}"
        end = match.end()
    values = {name: {"ref": ref} for ref, name in names.items()}
    return {"id": OUTPUT, "kind": "output", "text": text + _braces(answer[end:]), "values": values}


def _braces(text: str) -> str:
    plain = text.replace("{{", "{").replace("}}", "}")
    return plain.replace("{", "{{").replace("}", "}}")


def _written(argument: Argument) -> object:
    if isinstance(argument, Ref):
        return "{" + argument.ref + "}"
    value = argument.value
    return value.replace("{", "{{").replace("}", "}}") if isinstance(value, str) else value


def _shown(node: OutputNode, match: re.Match[str]) -> str:
    name = match[1]
    if name is None:
        return match[0]
    argument = node.values[name]
    return "{" + argument.ref + "}" if isinstance(argument, Ref) else _braces(str(argument.value))
