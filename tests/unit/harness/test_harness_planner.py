"""A planner inside a turn: when it is asked, when it is not asked again, and what the turn says of what was tried."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from planner_double import ASKED, BOTH, DOUBTFUL, LOOK, MARKED, Calls, Told, drafts, made

from harness.facts import LARGEST, LONGEST, MOST_DOUBTS, StepFact, steps_of, workflow_facts
from harness.hooks import Denied
from harness.model import Model, ModelError
from harness.turn import AnswerForm, ModelReply, ModelRequest
from workflows.calling import Outcome, ToolRequest
from workflows.codec import canonical
from workflows.plan import from_plan
from workflows.record import NodeRecord, WorkflowResult
from workflows.solving.solve import FRUITLESS

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[3] / "docs/schemas/event.schema.json").read_text())
)


def test_a_plan_is_run_and_its_answer_is_built_from_results() -> None:
    told, calls = Told([drafts(LOOK)]), Calls()
    found = made(told, calls)
    assert found.text == "Found a person."
    assert calls.made == ["shop/look"]
    asked, last = len(told.asked), found.facts[-1]
    assert (last["answered"], last["drafts"], last["tokens"]) == (True, asked, 100 * asked)
    assert not {"cut_off", "request"} & last.keys()
    assert all(one.tools == () for one in told.asked)
    assert [one.form.seed for one in told.asked if one.form] == list(range(asked))


@pytest.mark.parametrize("said", ["Good morning!", drafts(answer="Good morning!"), "", "{", '{"steps": 3}'])
def test_who_plans_nothing_is_not_asked_for_long(said: str) -> None:
    told = Told([said])
    found = made(told)
    assert (found.text, len(told.asked), found.facts) == (None, FRUITLESS, [])


def test_one_draft_without_a_step_is_no_reason_to_stop() -> None:
    told = Told(["Let me think.", drafts(LOOK)])
    assert made(told).text == "Found a person."


@pytest.mark.parametrize("error", [ModelError("gone"), Denied("spend", "all is spent")])
def test_a_model_that_fails_is_not_asked_again_and_what_it_drafted_is_run(error: Exception) -> None:
    found = made(told := Told([DOUBTFUL, error, AssertionError()]))
    assert len(told.asked) == 2
    assert found.text == "Found a person."
    assert made(Told([error])).text is None


def test_no_draft_is_waited_for_when_time_is_up() -> None:
    told = Told([DOUBTFUL], wait=0.1)
    found = made(told, seconds=0.25)
    assert 1 <= len(told.asked) <= 3
    assert found.text == "Found a person."
    assert made(never := Told([DOUBTFUL], wait=60), seconds=0.01).text is None
    assert len(never.asked) <= 1


def test_no_draft_is_asked_for_when_time_is_up() -> None:
    told = Told([DOUBTFUL])
    assert (made(told, seconds=0).text, told.asked) == (None, [])


def test_of_a_draft_that_was_cut_off_the_whole_steps_count() -> None:
    begun = drafts(LOOK, MARKED)[:-40]
    assert made(Told([begun], finish="length"), request=ASKED).text is not None


def test_no_more_calls_than_allowed_and_no_more_at_once() -> None:
    steps = [{"id": f"s{n}", "tool": "shop/look", "arguments": {"name": f"p{n}"}} for n in range(6)]
    names = "Look up " + ", ".join(f"p{n}" for n in range(6))
    calls = Calls()
    assert made(Told([drafts(*steps, answer="{s5}")]), calls, names).text
    assert (len(calls.made), calls.most) == (6, 2)
    capped = Calls()
    found = made(Told([drafts(*steps, answer="{s5}")]), capped, names, tool_calls=3)
    assert found.text is None
    assert 1 <= len(capped.made) <= 3
    assert made(told := Told([DOUBTFUL]), tokens=150).facts
    assert len(told.asked) == 2


def test_a_text_that_was_built_although_a_step_failed_is_no_answer() -> None:
    calls = Calls(lambda request: Outcome(None, "no") if request.tool == "shop/mark" else Outcome("a person"))
    found = made(Told([drafts(LOOK, MARKED)]), calls, BOTH)
    assert calls.made.count("shop/mark") == 1
    assert found.text is None
    ran = [fact for fact in found.facts if fact["ran"]]
    states = {step["id"]: (step["state"], step.get("error")) for step in ran[-1]["steps"]}
    assert states["s2"] == ("failed", "no")
    assert not any(fact["answered"] for fact in found.facts)


@pytest.mark.parametrize("doubted", [False, True])
def test_what_changes_something_is_not_run_on_a_doubt_unless_the_operator_says_so(doubted: bool) -> None:
    guess = {"id": "s1", "tool": "shop/mark", "arguments": {"mark": "pink"}}
    calls = Calls()
    found = made(Told([drafts(guess)]), calls, "Set a mark.", doubted_writes=doubted)
    assert calls.made == ["shop/mark"] * doubted
    assert (found.text is not None) == doubted
    assert any(fact["ran"] for fact in found.facts) == doubted
    assert found.facts[-1]["doubts"]


def test_the_same_workflow_is_told_once_until_it_is_run() -> None:
    found = made(Told([DOUBTFUL, ModelError("gone")]))
    assert [(fact["ran"], fact["drafts"]) for fact in found.facts] == [(True, 2)]


@dataclass
class Hangs(Calls):
    """From the named tool on."""

    tool_name: str = "shop/look"

    async def tool(self, request: ToolRequest) -> Outcome:
        if request.tool == self.tool_name:
            self.made.append(request.tool)
            await asyncio.sleep(60)
        return await super().tool(request)


def test_a_turn_that_is_cut_off_in_a_call_tells_how_far_the_plan_got() -> None:
    calls = Hangs(tool_name="shop/mark")
    chained = MARKED | {"arguments": {"mark": "blue"}, "after": ["s1"]}
    found = made(Told([drafts(LOOK, chained)]), calls, BOTH, within=0.3)
    assert found.cut_off
    assert calls.made == ["shop/look", "shop/mark"]
    [fact] = [fact for fact in found.facts if fact["ran"]]
    assert (fact["answered"], fact["cut_off"], fact["tool_calls"]) == (False, True, 2)
    assert [(step["id"], step["state"]) for step in fact["steps"]] == [("s1", "done"), ("s2", "cut_off")]
    assert fact is found.facts[-1]


def test_a_turn_that_is_cut_off_in_a_draft_tells_what_was_made_and_calls_nothing() -> None:
    told, calls = Told([DOUBTFUL], wait=0.2), Calls()
    found = made(told, calls, within=0.3)
    assert (found.cut_off, calls.made, len(told.asked)) == (True, [], 2)
    [fact] = found.facts
    assert (fact["ran"], fact["answered"], fact["cut_off"], fact["steps"]) == (False, False, True, [])
    assert fact["doubts"]
    early = made(Told([DOUBTFUL], wait=60), within=0.05)
    assert (early.cut_off, early.facts) == (True, [])


def test_a_run_that_failed_before_the_turn_was_cut_off_in_a_draft_ran() -> None:
    """And is not run again, when the end has come."""
    calls = Calls(lambda request: Outcome(None, "no"))

    class Slower(Told):
        async def ask(self, request: ModelRequest) -> ModelReply:
            self.wait = 60.0 if calls.made else 0.0
            return await super().ask(request)

    found = made(Slower([drafts(LOOK)]), calls, within=0.3)
    assert (found.cut_off, calls.made) == (True, ["shop/look"])
    [ran] = [fact for fact in found.facts if fact["ran"]]
    assert (ran["steps"][0]["id"], ran["steps"][0]["state"]) == ("s1", "failed")
    last = found.facts[-1]
    assert (last["cut_off"], last["ran"], last["steps"]) == (True, False, [])


def test_a_plan_that_ends_as_the_turn_is_cut_off_ran_and_is_no_answer() -> None:
    running: list[asyncio.Task[Any]] = []

    def ends_the_turn(request: ToolRequest) -> Outcome:
        running[0].cancel()
        return Outcome("a person")

    class First(Told):
        async def ask(self, request: ModelRequest) -> ModelReply:
            running[:] = [task for task in asyncio.all_tasks() if "planned" in repr(task.get_coro())]
            return await super().ask(request)

    found = made(First([drafts(LOOK)]), Calls(ends_the_turn))
    assert (found.cut_off, found.text) == (True, None)
    last = found.facts[-1]
    assert (last["ran"], last["answered"], last["cut_off"]) == (True, False, True)
    assert [step["state"] for step in last["steps"]] == ["done", "done"]


def test_a_plan_that_used_up_its_calls_tells_how_far_it_got() -> None:
    chained = MARKED | {"after": ["s1"]}
    found = made(Told([drafts(LOOK, chained)]), Calls(), BOTH, tool_calls=1)
    fact = found.facts[-1]
    assert (found.text, found.cut_off, fact["cut_off"]) == (None, False, True)
    assert [(step["id"], step["state"]) for step in fact["steps"]] == [("s1", "done")]


TEXT = st.tuples(st.text(min_size=1, max_size=3), st.integers(0, 5000)).map(lambda drawn: drawn[0] * drawn[1])


@given(
    arguments=st.dictionaries(TEXT, TEXT, max_size=4),
    error=st.none() | TEXT,
    doubts=st.lists(TEXT, max_size=40),
    late=st.booleans(),
)
def test_a_fact_fits_the_schema_and_is_bounded_whatever_stands_in_it(
    arguments: dict[str, str], error: str | None, doubts: list[str], late: bool
) -> None:
    step = {"id": "s1", "tool": "shop/" + "x" * 999, "arguments": arguments}
    workflow = from_plan({"steps": [step], "answer": "x"})
    records = (
        NodeRecord("s1", "failed", arguments, error=error, attempts=2),
        NodeRecord("answer", "done", value="x"),
    )
    steps = [*steps_of(WorkflowResult("x", records)), StepFact("answer", "cut_off", 1, None)]
    facts = workflow_facts(workflow, "planned", steps, ran=True, answered=False, doubts=doubts, cut_off=late)
    event = {"v": 1, "id": "0" * 26, "ts": 1.0, "kind": "workflow", "session": "s", "turn": "t", "seq": 0}
    SCHEMA.validate(event | facts)
    assert facts["tool_calls"] == 2
    told = facts["doubts"]
    assert isinstance(told, list)
    assert len(told) == min(len(doubts), MOST_DOUBTS)
    shown = facts["steps"]
    assert isinstance(shown, list)
    [tool_step, _, last] = shown
    assert (last["state"], "tool" in last) == ("cut_off", False)
    assert ("cut_off" in facts) == late
    texts = [*told, tool_step["tool"], tool_step.get("error", "")]
    assert all(len(text) <= LONGEST for text in texts)
    assert ("workflow" in facts) == (len(canonical(workflow)) <= LARGEST)


def test_a_form_goes_out_with_the_question() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        return httpx2.Response(200, json={"choices": [{"message": {"content": "x"}}]})

    async def ask() -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://m") as http:
            model, messages = Model(http, "m1"), ({"role": "user", "content": "hi"},)
            await model.complete(ModelRequest(messages, ()), "r")
            form = AnswerForm({"type": "object"}, 9, 3)
            await model.complete(ModelRequest(messages, (), form, "large"), "r")

    asyncio.run(ask())
    plain = {"model": "m1", "messages": [{"role": "user", "content": "hi"}]}
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    form = {"type": "json_schema", "json_schema": schema}
    assert bodies == [
        plain,
        plain | {"model": "large", "max_tokens": 9, "temperature": 0.0, "seed": 3, "response_format": form},
    ]
