"""Which mistakes a plan makes, told by comparing it with the oracle; the rule by which the weak planner's rates are fitted.

1. What is no whole JSON object with a list of steps (prose, half a JSON, cut off) counts once as `prose`. Of half a plan the
   steps that are whole still count, by 3 and the second sentence of 2. A plan that only its names spoil (`after` that names
   no step, a tool without its server) is read without them.
2. Steps are paired: each of the oracle's with the plan's step of the same tool that has most arguments equal, in the
   oracle's order; what is left over on both sides then in the order in which it stands. A pair of different tools is
   `wrong_tool` if the catalog has the plan's, else `invented_tool`. What the oracle has alone is `missing_step`; if the plan
   has any step alone, that is one `invented_step`.
3. In a pair of the same tool, each argument of the oracle is there, or it is `misnamed_argument` if the plan's step has a
   name that the tool does not have, each such name used once, or else `missing_argument`. One that is there but is not of
   the tool's type is `mistyped_argument`. Of the others, one that has to be a reference and is not this one is a
   `lost_dependency`; a literal that is another one is a `wrong_value`, which is counted and not played.
4. Each reference in the oracle's answer that is not in the plan's is a `lost_dependency`, too.
5. Each `after` of the oracle between two paired steps that the plan does not keep, in whatever way, is a `wrong_order`.

Each count has beside it how often that mistake could have been made.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator

from benchmarks.workflows.slips import KINDS
from workflows.catalog import Catalog, ToolSpec
from workflows.graph import ID_PATTERN, TOOL_PATTERN, Literal, OutputNode, Ref, ToolNode, Workflow
from workflows.order import Order
from workflows.plan import PlanError, from_plan
from workflows.planner import PlannerFailed, read_object
from workflows.types import property_schema

COUNTED = (*KINDS, "wrong_value")


class Tally:
    def __init__(self) -> None:
        self.made = dict.fromkeys(COUNTED, 0)
        self.could = dict.fromkeys(COUNTED, 0)

    def see(self, kind: str, made: bool) -> None:
        self.made[kind] += made
        self.could[kind] += 1

    def rate(self, kind: str) -> float:
        return self.made[kind] / self.could[kind] if self.could[kind] else 0.0


def count(text: str, oracle: Mapping[str, Any], catalog: Catalog, tally: Tally) -> None:
    """One answer of a planner."""
    plan = _plan(text)
    tally.see("prose", plan is None)
    right = from_plan(oracle)
    wanted, found = _steps(right), _steps(plan or _begun(text))
    pairs = _paired(wanted, found)
    if plan is None:
        for step in wanted:
            if step.id in pairs:
                _tool(step, pairs[step.id], pairs, catalog, tally)
        return
    tally.see("invented_step", len(found) > len(pairs))
    for step in wanted:
        other = pairs.get(step.id)
        tally.see("missing_step", other is None)
        if other is not None:
            _tool(step, other, pairs, catalog, tally)
    _answer(right, plan, pairs, tally)
    _order(wanted, plan, pairs, tally)


def _plan(text: str) -> Workflow | None:
    try:
        found = read_object(text)
        return from_plan(
            {"steps": list(_readable(found.get("steps"))), "answer": str(found.get("answer", ""))}
        )
    except (PlannerFailed, PlanError, TypeError):
        return None


def _begun(text: str) -> Workflow:
    """The whole steps of half a plan."""
    head = re.search(r'"steps"\s*:\s*\[\s*', text)
    steps: list[object] = []
    decoder, end = json.JSONDecoder(), head.end() if head else len(text)
    while text[end : end + 1] == "{":
        try:
            step, end = decoder.raw_decode(text, end)
        except ValueError:
            break
        steps.append(step)
        end += len(text[end:]) - len(text[end:].lstrip(" \n,"))
    return from_plan({"steps": list(_readable(steps)), "answer": ""})


def _readable(steps: object) -> Iterator[dict[str, Any]]:
    """Raises TypeError for what is no list of steps."""
    if not isinstance(steps, list):
        raise TypeError("no list")
    ids = [f"s{number}" for number in range(1, len(steps) + 1)]
    for number, step in zip(ids, steps, strict=True):
        if not isinstance(step, dict):
            raise TypeError("no step")
        own, tool, arguments = str(step.get("id")), str(step.get("tool")), step.get("arguments")
        after = [name for name in step.get("after") or [] if name in ids and name != own]
        yield {
            "id": own if re.fullmatch(ID_PATTERN, own) else number,
            "tool": tool if re.fullmatch(TOOL_PATTERN, tool) else "nobody/nothing",
            "arguments": arguments if isinstance(arguments, dict) else {},
            "after": after,
        }


def _steps(workflow: Workflow) -> list[ToolNode]:
    return [node for node in workflow.nodes if isinstance(node, ToolNode)]


def _paired(wanted: Sequence[ToolNode], found: Sequence[ToolNode]) -> dict[str, ToolNode]:
    """By the oracle's ids."""
    left, pairs = list(found), dict[str, ToolNode]()
    for step in wanted:
        same = [other for other in left if other.tool == step.tool]
        if same:
            best = max(
                same, key=lambda other: sum(other.arguments.get(n) == v for n, v in step.arguments.items())
            )
            pairs[step.id] = best
            left.remove(best)
    lone = [step for step in wanted if step.id not in pairs]
    return {**pairs, **{step.id: other for step, other in zip(lone, left, strict=False)}}


def _tool(
    step: ToolNode, other: ToolNode, pairs: Mapping[str, ToolNode], catalog: Catalog, tally: Tally
) -> None:
    known = catalog.get(other.tool) is not None
    tally.see("wrong_tool", other.tool != step.tool and known)
    tally.see("invented_tool", not known)
    spec = catalog.get(step.tool)
    if other.tool == step.tool and spec is not None:
        _arguments(step, other, pairs, spec, tally)


def _arguments(
    step: ToolNode, other: ToolNode, pairs: Mapping[str, ToolNode], spec: ToolSpec, tally: Tally
) -> None:
    strange = [name for name in sorted(other.arguments) if property_schema(spec.input_schema, name) is None]
    for name, value in step.arguments.items():
        there = other.arguments.get(name)
        misnamed = there is None and bool(strange)
        if misnamed:
            strange.pop(0)
        tally.see("misnamed_argument", misnamed)
        tally.see("missing_argument", there is None and not misnamed)
        if there is None:
            continue
        schema = property_schema(spec.input_schema, name) or {}
        mistyped = isinstance(there, Literal) and not Draft202012Validator(schema).is_valid(there.value)
        tally.see("mistyped_argument", mistyped)
        if mistyped:
            continue
        if isinstance(value, Ref):
            tally.see("lost_dependency", there != _translated(value, pairs))
        else:
            tally.see("wrong_value", _plain(there) != _plain(value))


def _answer(right: Workflow, plan: Workflow, pairs: Mapping[str, ToolNode], tally: Tally) -> None:
    given = _shown(plan)
    for reference in _shown(right):
        tally.see("lost_dependency", _translated(reference, pairs) not in given)


def _order(wanted: Sequence[ToolNode], plan: Workflow, pairs: Mapping[str, ToolNode], tally: Tally) -> None:
    before = Order(plan).before
    for step in wanted:
        for earlier in step.after:
            if step.id in pairs and earlier in pairs:
                kept = pairs[earlier].id in before.get(pairs[step.id].id, frozenset())
                tally.see("wrong_order", not kept)


def _shown(workflow: Workflow) -> list[Ref]:
    output = next(node for node in workflow.nodes if isinstance(node, OutputNode))
    return [value for value in output.values.values() if isinstance(value, Ref)]


def _translated(reference: Ref, pairs: Mapping[str, ToolNode]) -> Ref | None:
    """The oracle's reference in the plan's ids."""
    pair = pairs.get(reference.source)
    return Ref(".".join([pair.id, *reference.path])) if pair is not None else None


def _plain(argument: object) -> str:
    """Whatever the case and the spaces: `select a` is `SELECT  a`."""
    value = argument.value if isinstance(argument, Literal) else argument
    return "".join(json.dumps(value, sort_keys=True, default=str).lower().split())
