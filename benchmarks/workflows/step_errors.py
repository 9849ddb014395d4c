"""The same rule for one call of ReAct, whose right arguments are known values.

What is no JSON object is `prose`. Where a call is due, an answer is a `missing_step`; where the answer is due, a call is an
`invented_step`. Tools and arguments count as in a plan. A value that has to come from a result, and is another one or is not
in the answer, is a `lost_dependency`.
"""

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from benchmarks.workflows.errors import Tally
from workflows.catalog import Catalog, ToolSpec
from workflows.planner import PlannerFailed, read_object
from workflows.types import property_schema


def count_step(text: str, right: Mapping[str, Any], catalog: Catalog, tally: Tally) -> None:
    try:
        found = read_object(text)
    except PlannerFailed:
        tally.see("prose", True)
        return
    tally.see("prose", False)
    if "answer" in right:
        _answer(found, right["answer"], tally)
        return
    tally.see("missing_step", "tool" not in found)
    if "tool" not in found:
        return
    known = catalog.get(str(found["tool"])) is not None
    tally.see("wrong_tool", known and found["tool"] != right["tool"])
    tally.see("invented_tool", not known)
    spec, arguments = catalog.get(right["tool"]), found.get("arguments")
    if found["tool"] == right["tool"] and spec is not None:
        _arguments(arguments if isinstance(arguments, dict) else {}, right, spec, tally)


def _answer(found: Mapping[str, Any], values: list[str], tally: Tally) -> None:
    tally.see("invented_step", "tool" in found)
    if "tool" not in found:
        for value in values:
            tally.see("lost_dependency", value.strip() not in str(found.get("answer")))


def _arguments(found: Mapping[str, Any], right: Mapping[str, Any], spec: ToolSpec, tally: Tally) -> None:
    strange = [name for name in sorted(found) if property_schema(spec.input_schema, name) is None]
    for name, value in right["arguments"].items():
        misnamed = name not in found and bool(strange)
        if misnamed:
            strange.pop(0)
        tally.see("misnamed_argument", misnamed)
        tally.see("missing_argument", name not in found and not misnamed)
        if name not in found:
            continue
        schema = property_schema(spec.input_schema, name) or {}
        mistyped = not Draft202012Validator(schema).is_valid(found[name])
        tally.see("mistyped_argument", mistyped)
        if not mistyped:
            kind = "lost_dependency" if name in right["taken"] else "wrong_value"
            tally.see(kind, found[name] != value)
