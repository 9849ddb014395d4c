"""Configurations of a workflow's steps, and cases."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from workflows.__main__ import published
from workflows.calling import Outcome, ToolRequest
from workflows.graph import (
    Ask,
    Call,
    Literal,
    MapNode,
    ModelNode,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
)
from workflows.pareto.space import ConfigurationsError, Space, read_configurations
from workflows.verify import CasesError, complaints, read_cases

WORKFLOW = Workflow(
    "w",
    "",
    (
        ToolNode(
            id="get", tool="a/get", arguments={"url": Ref("inputs.url"), "raw": Literal(True)}, effect="read"
        ),
        ModelNode(id="sum", prompt="{t}", values={"t": Ref("get")}),
        MapNode(id="all", over=Ref("get.list"), each=Call("a/one", {"it": Ref("item")}), limit=3),
        MapNode(id="asked", over=Ref("get.list"), each=Ask("{t}", {"t": Ref("item")}), limit=3),
        OutputNode(id="out", text="{s}", values={"s": Ref("sum")}),
    ),
    {"url": {}},
)


def configured(step: str, alternative: dict[str, Any]) -> Any:
    table = {"steps": {step: {"new": alternative}}}
    Draft202012Validator(published()["configurations.schema.json"]).validate(table)
    found = Space(WORKFLOW, read_configurations(table)).configured(("new",))
    assert [node for node in found.nodes if node.id != step] == [n for n in WORKFLOW.nodes if n.id != step]
    return found.node(step)


def test_each_kind_of_step_takes_what_fits_it() -> None:
    model = configured("sum", {"model": "m", "prompt": "Short: {t}", "max_tokens": 9, "retries": 2})
    assert (model.model, model.prompt, model.max_tokens, model.policy.retries) == ("m", "Short: {t}", 9, 2)
    assert model.values == {"t": Ref("get")}
    tool = configured(
        "get", {"tool": "b/fetch", "rename": {"url": "address", "raw": None}, "arguments": {"n": 1}}
    )
    assert (tool.tool, tool.arguments) == ("b/fetch", {"address": Ref("inputs.url"), "n": Literal(1)})
    assert tool.effect is None  # said of another tool
    assert configured("get", {"arguments": {"raw": False}}).arguments["raw"] == Literal(False)
    each = configured("all", {"tool": "b/one", "timeout_seconds": 2})
    assert (each.each, each.policy.timeout_seconds) == (Call("b/one", {"it": Ref("item")}), 2)
    assert configured("asked", {"model": "m"}).each.model == "m"


@pytest.mark.parametrize(
    ("step", "alternative", "says"),
    [
        ("nowhere", {}, "no such step"),
        ("out", {"retries": 1}, "no such step that calls"),
        ("sum", {"tool": "b/fetch"}, "it calls no tool"),
        ("sum", {"arguments": {"x": 1}}, "it asks a model"),
        ("get", {"model": "m"}, "asks no model"),
        ("get", {"tool": "b/fetch", "rename": {"uri": "x"}}, "no argument uri"),
        ("get", {"rename": {"url": "x"}}, "rename: only with a tool"),
    ],
)
def test_what_does_not_fit_is_told(step: str, alternative: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationsError, match=rf"steps\.{step}\.new: .*{says}"):
        configured(step, alternative)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ([], "configurations"),
        ({"steps": {"get": {"own": {}}}}, "'own' is what"),
        ({"steps": {"get": {"x": {"retrys": 1}}}}, "retrys"),
        ({"steps": {}, "prices": {"models": {"m": {"input": -1, "output": 0}}}}, "input"),
        ({"steps": {}, "prices": {"models": {"m": {"input": 0.5, "output": 0}}}}, "input"),
    ],
)
def test_a_file_that_is_none_is_told(table: Any, says: str) -> None:
    with pytest.raises(ConfigurationsError, match=says):
        read_configurations(table)


def test_a_space_is_all_choices() -> None:
    found = Space(WORKFLOW, read_configurations({"steps": {"sum": {"x": {}, "y": {}}, "get": {"x": {}}}}))
    assert (found.steps, found.size) == (("get", "sum"), 6)
    assert list(found.singles()) == [("own", "own"), ("x", "own"), ("own", "x"), ("own", "y")]
    assert found.models("small") == {"small"}
    assert Space(WORKFLOW, read_configurations({"steps": {"sum": {"x": {"model": "m"}}}})).models(None) == {
        None,
        "m",
    }


def told(verify: dict[str, Any], answer: str | None) -> list[str]:
    table = {"cases": [{"verify": verify}]}
    Draft202012Validator(published()["cases.schema.json"]).validate(table)
    [case] = read_cases(json.loads(json.dumps(table)))
    calls = [
        (ToolRequest("n", "", 1, "a/get", {"url": "x", "n": 3}), Outcome("y")),
        (ToolRequest("n", "", 1, "a/put", {}), Outcome(None, "refused")),
    ]
    return complaints(case.verify, calls, answer)


@pytest.mark.parametrize(
    ("verify", "answer", "wrong"),
    [
        ({"answer": ["12"]}, "it is 12.", []),
        ({"answer": ["12"]}, "it is 120.", ["the answer lacks 12"]),
        ({"answer": ["a", "b"]}, "a", ["the answer lacks b"]),
        ({"answer": [{"matches": "(?i)^YES"}]}, "yes, so", []),
        ({"answer": [{"matches": "^yes"}]}, "no, yes", ["nothing in the answer matches ^yes"]),
        ({"answer": ["a"]}, None, ["there is no answer"]),
        ({"calls": [{"tool": "a/get", "arguments": {"url": "x"}}]}, "", []),
        (
            {"calls": [{"tool": "a/get", "arguments": {"url": "z"}}]},
            "",
            ["a/get was not called as it has to be"],
        ),
        ({"calls": [{"tool": "a/put"}]}, "", ["a/put was not called as it has to be"]),
    ],
)
def test_what_a_case_asks_for(verify: dict[str, Any], answer: str | None, wrong: list[str]) -> None:
    assert told(verify, answer) == wrong


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"cases": []}, "cases"),
        ({"cases": [{"verify": {}}]}, "cases.0.verify: says nothing"),
        ({"cases": [{"verify": {"answer": [{"matches": "("}]}}]}, "cases.0.verify.answer.0.matches"),
        ({"cases": [{"verify": {"answer": ["x"]}, "input": {}}]}, "input"),
        ({"cases": [{"verify": {"answer": [3]}}]}, "answer"),
    ],
)
def test_cases_that_are_none_are_told(table: Any, says: str) -> None:
    with pytest.raises(CasesError, match=says):
        read_cases(table)
