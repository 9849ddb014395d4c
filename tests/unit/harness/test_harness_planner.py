"""A planner inside a turn: when it is asked, when it is not asked again, and what the turn says of what was tried."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harness.facts import LARGEST, LONGEST, MOST_DOUBTS, workflow_facts
from harness.hooks import Denied
from harness.model import Model, ModelError
from harness.planning import Planned, planned
from harness.settings import Limits, Planning, Policy
from harness.turn import AnswerForm, ModelReply, ModelRequest, Usage
from workflows.calling import ModelRequest as WorkflowAsk
from workflows.calling import Outcome, ToolRequest
from workflows.catalog import ToolSpec, catalog
from workflows.codec import canonical
from workflows.plan import from_plan
from workflows.record import NodeRecord, WorkflowResult
from workflows.solving.solve import FRUITLESS

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[3] / "docs/schemas/event.schema.json").read_text())
)
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
MARK = {"type": "object", "properties": {"mark": {"type": "string"}}, "required": ["mark"]}
TOOLS = catalog(
    [
        ToolSpec("shop", "look", "Look a person up by name.", NAME, idempotent=True, effect="read"),
        ToolSpec("shop", "mark", "Set a mark.", MARK, effect="write"),
    ]
)
LOOK = {"id": "s1", "tool": "shop/look", "arguments": {"name": "Ada"}}
MARKED = {"id": "s2", "tool": "shop/mark", "arguments": {"mark": "blue"}}
BOB = LOOK | {"arguments": {"name": "Bob"}}
DOUBTFUL = json.dumps({"steps": [BOB], "answer": "Found {s1}."})
"""Nobody said Bob."""
ASKED = "Look Ada up."
BOTH = "Look Ada up and set the mark blue."


def drafts(*steps: Any, answer: str = "Found {s1}.") -> str:
    return json.dumps({"steps": steps, "answer": answer})


@dataclass
class Told:
    """Answers one after the other, the last one for ever; an exception is raised."""

    answers: Sequence[str | Exception]
    finish: str = "stop"
    asked: list[tuple[int, ModelRequest]] = field(default_factory=list)
    wait: float = 0.0

    async def ask(self, index: int, request: ModelRequest) -> ModelReply:
        self.asked.append((index, request))
        await asyncio.sleep(self.wait)
        said = self.answers[min(index, len(self.answers) - 1)]
        if isinstance(said, Exception):
            raise said
        return ModelReply(said, (), self.finish, Usage(90, 10))


@dataclass
class Calls:
    answer: Callable[[ToolRequest], Outcome] = lambda request: Outcome("a person")
    made: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def tool(self, request: ToolRequest) -> Outcome:
        self.made.append(request.tool)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return self.answer(request)

    async def model(self, request: WorkflowAsk) -> Outcome:
        raise AssertionError

    def repeatable(self, tool: str) -> bool:
        return False


def made(told: Told, calls: Calls | None = None, request: str = ASKED, **planning: Any) -> Planned:
    policy = Policy(limits=Limits(parallel_tools=2), planning=Planning(**planning))
    return asyncio.run(planned(request, told.ask, TOOLS, calls or Calls(), policy))


def test_a_plan_is_run_and_its_answer_is_built_from_results() -> None:
    told, calls = Told([drafts(LOOK)]), Calls()
    found = made(told, calls)
    assert found.text == "Found a person."
    assert calls.made == ["shop/look"]
    assert found.asked == len(told.asked)
    last = found.facts[-1]
    assert (last["answered"], last["drafts"], last["tokens"]) == (True, found.asked, 100 * found.asked)
    index, first = told.asked[0]
    assert (index, first.tools) == (0, ())
    assert first.form is not None
    assert first.form.seed == 0
    assert [one.form.seed for _, one in told.asked if one.form] == list(range(found.asked))


@pytest.mark.parametrize("said", ["Good morning!", drafts(answer="Good morning!"), "", "{", '{"steps": 3}'])
def test_who_plans_nothing_is_not_asked_for_long(said: str) -> None:
    told = Told([said])
    found = made(told)
    assert (found.text, found.asked) == (None, FRUITLESS)
    assert found.facts == ()


def test_one_draft_without_a_step_is_no_reason_to_stop() -> None:
    told = Told(["Let me think.", drafts(LOOK)])
    assert made(told).text == "Found a person."


@pytest.mark.parametrize("error", [ModelError("gone"), Denied("spend", "all is spent")])
def test_a_model_that_fails_is_not_asked_again_and_what_it_drafted_is_run(error: Exception) -> None:
    found = made(told := Told([DOUBTFUL, error, AssertionError()]))
    assert [index for index, _ in told.asked] == [0, 1]
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
    states = {step["id"]: (step["state"], step.get("error")) for step in _steps(ran[-1])}
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
    assert [(fact["ran"], fact["drafts"]) for fact in found.facts] == [(True, 8)]


def _steps(fact: dict[str, object]) -> list[dict[str, Any]]:
    steps = fact["steps"]
    assert isinstance(steps, list)
    return steps


TEXT = st.tuples(st.text(min_size=1, max_size=3), st.integers(0, 5000)).map(lambda drawn: drawn[0] * drawn[1])


@given(
    arguments=st.dictionaries(TEXT, TEXT, max_size=4),
    error=st.none() | TEXT,
    doubts=st.lists(TEXT, max_size=40),
    drafted=st.integers(0, 9),
)
def test_a_fact_fits_the_schema_and_is_bounded_whatever_stands_in_it(
    arguments: dict[str, str], error: str | None, doubts: list[str], drafted: int
) -> None:
    step = {"id": "s1", "tool": "shop/" + "x" * 999, "arguments": arguments}
    workflow = from_plan({"steps": [step], "answer": "x"})
    records = (
        NodeRecord("s1", "failed", arguments, error=error, attempts=2),
        NodeRecord("answer", "done", value="x"),
    )
    result = WorkflowResult("x", records)
    spent = {"drafts": drafted, "tokens": 5}
    facts = workflow_facts(
        workflow, "planned", result, ran=result is not None, answered=False, doubts=doubts, **spent
    )
    event = {"v": 1, "id": "0" * 26, "ts": 1.0, "kind": "workflow", "session": "s", "turn": "t", "seq": 0}
    SCHEMA.validate(event | facts)
    assert facts["tool_calls"] == 2
    told = facts["doubts"]
    assert isinstance(told, list)
    assert len(told) == min(len(doubts), MOST_DOUBTS)
    [tool_step, _] = _steps(facts)
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
            await model.complete(ModelRequest(messages, (), AnswerForm({"type": "object"}, 9, 3)), "r")

    asyncio.run(ask())
    plain = {"model": "m1", "messages": [{"role": "user", "content": "hi"}]}
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    form = {"type": "json_schema", "json_schema": schema}
    assert bodies == [
        plain,
        plain | {"max_tokens": 9, "temperature": 0.0, "seed": 3, "response_format": form},
    ]
