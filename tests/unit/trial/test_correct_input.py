"""Correct input: what was handed on whole raises no objection, and whatever is missing or altered raises one."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from evidence.cases import Cassette, RecordedCall, RecordedTurn, VisibleCase
from trial.correct_input import wrong_input
from trial.gateway import chat
from trial.gateway.right_answer import RightAnswer, RightCall, step_of

Json = dict[str, Any]
SCHEMA: Json = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
TOOLS = ("shop/state", "shop/price")
LISTED = [{"name": t.partition("/")[2], "description": f"About {t}.", "inputSchema": SCHEMA} for t in TOOLS]
REPLY = chat.completion("…")
WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=12)


def has_an_id(schema: object, value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str)


@dataclass(frozen=True)
class Turn:
    """What a service did: `asked` are the model's rounds of (tool, id, result), each asked for at once."""

    users: tuple[str, ...]
    asked: tuple[tuple[tuple[str, str, str], ...], ...]
    words: str
    right: RightAnswer

    def case(self) -> VisibleCase:
        turns = [
            RecordedTurn(request_id=f"r{n}", session="s", path="/v1/chat/completions", body=body, reply=REPLY)
            for n, body in enumerate({"messages": [{"role": "user", "content": text}]} for text in self.users)
        ]
        return VisibleCase(
            id="c",
            evidence_id="e",
            fingerprint="f",
            turn=turns[-1],
            prelude=tuple(turns[:-1]),
            cassette=Cassette(catalog={"shop": {"tools/list": {"tools": LISTED}}}),
        )

    def calls(self) -> list[Json]:
        """As a gateway would have seen them, to be spoilt before they are parsed."""
        messages: list[Json] = [{"role": "system", "content": "Help."}]
        for text in self.users:
            messages += [{"role": "user", "content": text}, {"role": "assistant", "content": "…"}]
        del messages[-1]
        made: list[Json] = []

        def add(kind: str, target: str, request: Json, response: object) -> None:
            start = 2 * len(made)
            made.append(
                {
                    "kind": kind,
                    "target": target,
                    "request_id": "r",
                    "request": request,
                    "response": response,
                    "start_order": start,
                    "end_order": start + 1,
                    "latency": 0.0,
                }
            )

        for number, wanted in enumerate((*self.asked, ())):
            asks = [
                chat.Ask(f"c{number}-{n}", tool.replace("/", "__"), {"id": ident})
                for n, (tool, ident, _) in enumerate(wanted)
            ]
            response: Any = chat.completion(self.words, asks)
            request: Json = {"model": "m", "messages": list(messages), "tools": [offer(t) for t in LISTED]}
            add("model", chat.PATH, json.loads(json.dumps(request)), response)
            messages.append(response["choices"][0]["message"])
            for ask, (tool, ident, result) in zip(asks, wanted, strict=True):
                told = {"content": [{"type": "text", "text": result}]}
                add("tool", tool, {"name": tool, "arguments": {"id": ident}}, {"result": told})
                messages.append({"role": "tool", "tool_call_id": ask.id, "content": result})
        return made

    def trouble(self, calls: list[Json]) -> str:
        return wrong_input(
            self.case(), [RecordedCall.model_validate(c) for c in calls], self.right, has_an_id
        )


def offer(listed: Json) -> Json:
    named = {"name": f"shop__{listed['name']}", "description": listed["description"]}
    return {"type": "function", "function": {**named, "parameters": SCHEMA}}


ASKED = st.tuples(st.sampled_from(TOOLS), WORDS, WORDS)
TURNS = st.builds(
    Turn,
    st.lists(WORDS, min_size=1, max_size=3, unique=True).map(tuple),
    st.lists(st.lists(ASKED, min_size=1, max_size=3, unique_by=lambda a: a[:2]).map(tuple), max_size=3).map(
        tuple
    ),
    WORDS,
    st.builds(
        lambda ids: RightAnswer(calls=tuple(RightCall(tool=TOOLS[0], arguments={"id": i}) for i in ids)),
        st.lists(WORDS, max_size=2),
    ),
)


def models(calls: list[Json]) -> list[Json]:
    return [call for call in calls if call["kind"] == "model"]


def sent(calls: list[Json], role: str) -> list[Json]:
    """Messages of the last request, this turn's tools and assistants among them only."""
    messages: list[Json] = models(calls)[-1]["request"]["messages"]
    last = max(n for n, message in enumerate(messages) if message["role"] == "user")
    return [m for n, m in enumerate(messages) if m["role"] == role and (role == "user" or n > last)]


def drop(calls: list[Json], message: Json) -> None:
    kept = [m for m in models(calls)[-1]["request"]["messages"] if m is not message]
    models(calls)[-1]["request"]["messages"] = kept


def first(found: list[Json]) -> Json:
    assume(found)
    return found[0]


def add_message(role: str) -> Callable[[list[Json]], None]:
    message = {"role": role, "content": "more", "tool_call_id": "c"}
    return lambda calls: models(calls)[-1]["request"]["messages"].append(message)


def swap_results(calls: list[Json]) -> None:
    told = sent(calls, "tool")
    assume(len(told) > 1 and told[0]["content"] != told[1]["content"])
    told[0]["content"], told[1]["content"] = told[1]["content"], told[0]["content"]


def unmake(calls: list[Json]) -> None:
    calls.remove(first([call for call in calls if call["kind"] == "tool"]))


SPOILT: dict[str, Callable[[list[Json]], None]] = {
    "a user message is gone": lambda calls: drop(calls, first(sent(calls, "user"))),
    "a user message is altered": lambda calls: first(sent(calls, "user")).update(
        content="other words than these"
    ),
    "a user message is added": add_message("user"),
    "a result is gone": lambda calls: drop(calls, first(sent(calls, "tool"))),
    "a result is altered": lambda calls: (m := first(sent(calls, "tool"))).update(content=m["content"] + "!"),
    "a result is another's": lambda calls: first(sent(calls, "tool")).update(tool_call_id="c9-9"),
    "results are swapped": swap_results,
    "a result is added": add_message("tool"),
    "the model's own words are gone": lambda calls: drop(calls, first(sent(calls, "assistant"))),
    "the model's own words are altered": lambda calls: first(sent(calls, "assistant")).update(content="I"),
    "words are put in its mouth": add_message("assistant"),
    "a call was not made": unmake,
    "a call was made otherwise": lambda calls: first([c for c in calls if c["kind"] == "tool"])[
        "request"
    ].update(arguments={"id": "another order than that"}),
    "an answer was cut": lambda calls: models(calls)[-1]["response"]["choices"][0].update(
        finish_reason="length"
    ),
    "the model was out of reach": lambda calls: models(calls)[-1].update(status=502),
    "another wire format": lambda calls: models(calls)[-1].update(target="/v1/responses"),
    "no model was asked": lambda calls: calls.clear(),
}


@given(TURNS)
def test_what_was_handed_on_whole_has_no_objection(turn: Turn) -> None:
    assert turn.trouble(turn.calls()) == ""


@given(TURNS, st.sampled_from(sorted(SPOILT)))
def test_whatever_is_taken_away_or_altered_has_one(turn: Turn, how: str) -> None:
    calls = turn.calls()
    SPOILT[how](calls)
    assert turn.trouble(calls), how


RIGHT = RightAnswer(calls=(RightCall(tool="shop/state", arguments={"id": "7"}),), text="fine")
PLAIN = Turn(("Is it there?",), ((("shop/state", "7", "fine"),),), "I can't say.", RIGHT)


def spoilt_offer(**change: object) -> str:
    calls = PLAIN.calls()
    models(calls)[-1]["request"]["tools"][0]["function"].update(change)
    return PLAIN.trouble(calls)


def test_the_tool_that_is_due_is_offered_as_its_server_describes_it() -> None:
    assert spoilt_offer() == ""
    assert "not offered" in spoilt_offer(name="weather")
    assert "otherwise" in spoilt_offer(description="About the weather.")
    assert "otherwise" in spoilt_offer(parameters={"type": "object"})
    half = replace(PLAIN, right=RightAnswer(calls=(RightCall(tool="shop/state"),)))
    assert "not all arguments" in half.trouble(half.calls())
    gone = replace(PLAIN, right=RightAnswer(calls=(RightCall(tool="bank/pay", arguments={"id": "7"}),)))
    assert "no server" in gone.trouble(gone.calls())
    calls = PLAIN.calls()
    del models(calls)[0]["request"]["tools"][1]
    told = replace(PLAIN, right=RightAnswer(text="fine"))
    assert "shop/price is not offered" in told.trouble(calls), (
        "whoever answers in words may have to look first"
    )


def test_nonsense_that_the_model_asks_for_needs_no_call() -> None:
    for name, arguments in (
        ("shop__weather", '{"id": "7"}'),
        ("shop__state", "{7"),
        ("shop__state", '{"no": "7"}'),
    ):
        calls = PLAIN.calls()
        call = calls[0]["response"]["choices"][0]["message"]["tool_calls"][0]["function"]
        call.update(name=name, arguments=arguments)
        repeated = sent(calls, "assistant")[0]["tool_calls"][0]["function"]
        repeated.update(name=name, arguments=arguments)
        del calls[1]
        sent(calls, "tool")[0]["content"] = "There is no such thing."
        assert PLAIN.trouble(calls) == "", name
        sent(calls, "tool")[0]["tool_call_id"] = "else"
        assert "missing" in PLAIN.trouble(calls)


def test_a_failure_that_needs_another_session_is_no_models() -> None:
    case = PLAIN.case()
    other = case.turn.model_copy(update={"session": "another", "request_id": "r9"})
    calls = [RecordedCall.model_validate(call) for call in PLAIN.calls()]
    leaked = case.model_copy(update={"prelude": (other,)})
    assert "another session" in wrong_input(leaked, calls, RIGHT, has_an_id)


def test_what_was_said_before_and_what_was_asked_of_the_answer_is_handed_on() -> None:
    turn = replace(PLAIN, users=("one", "two"))
    calls = turn.calls()
    models(calls)[1]["request"]["messages"][2]["content"] = "I never said so."
    assert "earlier replies" in turn.trouble(calls)
    case, calls = turn.case(), turn.calls()
    strict = {**case.turn.body, "response_format": {"type": "json_object"}}
    case = case.model_copy(update={"turn": case.turn.model_copy(update={"body": strict})})
    parsed = [RecordedCall.model_validate(call) for call in calls]
    assert "response_format" in wrong_input(case, parsed, RIGHT, has_an_id)
    for model in models(calls):
        model["request"]["response_format"] = {"type": "json_object"}
    parsed = [RecordedCall.model_validate(call) for call in calls]
    assert wrong_input(case, parsed, RIGHT, has_an_id) == ""
    cut = case.prelude[0].model_copy(update={"reply": None})
    assert "not read" in wrong_input(case.model_copy(update={"prelude": (cut,)}), parsed, RIGHT, has_an_id)


def test_a_client_that_sends_its_whole_conversation_says_each_thing_once() -> None:
    turn = replace(PLAIN, users=("one", "two"))
    case = turn.case()
    talk = (("user", "one"), ("assistant", "…"), ("user", "two"))
    again = {"messages": [{"role": role, "content": text} for role, text in talk]}
    case = case.model_copy(update={"turn": case.turn.model_copy(update={"body": again})})
    calls = [RecordedCall.model_validate(call) for call in turn.calls()]
    assert wrong_input(case, calls, RIGHT, has_an_id) == ""
    alone = case.model_copy(update={"prelude": ()})
    assert wrong_input(alone, calls, RIGHT, has_an_id) == "", "a client may keep the conversation by itself"
    told: Json = {"messages": [{"role": "system", "content": "Be brief."}, *again["messages"]]}
    case = case.model_copy(update={"turn": case.turn.model_copy(update={"body": told})})
    assert "instruction" in wrong_input(case, calls, RIGHT, has_an_id)


@given(TURNS)
def test_a_streamed_answer_reads_like_a_plain_one(turn: Turn) -> None:
    for call in models(turn.calls()):
        plain = call["response"]
        assert chat.said({"frames": chat.as_frames(plain)}) == chat.said(plain) != None  # noqa: E711


ANYTHING = st.recursive(
    st.none() | st.integers() | WORDS,
    lambda value: st.lists(value) | st.dictionaries(WORDS, value),
    max_leaves=20,
)


@given(ANYTHING)
def test_anything_at_all_is_read_without_an_exception(value: Any) -> None:
    for part in (value, {"choices": [{"message": value, "delta": value}]}, {"frames": [{"data": value}]}):
        chat.said(part)
        chat.offered({"tools": [{"function": value}, value]})
        chat.messages({"messages": value})
    call = {"kind": "tool", "target": "shop/state", "request": value, "response": value}
    spoilt = [{**PLAIN.calls()[1], **call}, *PLAIN.calls()]
    PLAIN.trouble(spoilt)
    case = PLAIN.case().model_copy(update={"cassette": Cassette(catalog={"shop": value})})
    wrong_input(case, [RecordedCall.model_validate(one) for one in spoilt], RIGHT, has_an_id)


def test_the_right_answer_is_said_step_by_step() -> None:
    request = PLAIN.calls()[0]["request"]
    said = chat.said(step_of(RIGHT, 0, request))
    assert said is not None
    assert [(ask.name, ask.arguments) for ask in said.asks] == [("shop__state", {"id": "7"})]
    words = chat.said(step_of(RIGHT, 1, request))
    assert words is not None
    assert (words.text, words.asks) == ("fine", ())
    assert step_of(RIGHT, 2, request) is None
    assert step_of(RIGHT, 0, {**request, "tools": []}) is None
    silent = RIGHT.model_copy(update={"text": None})
    told = chat.said(step_of(silent, 1, PLAIN.calls()[2]["request"]))
    assert told is not None
    assert told.text == "fine", "what the tool said"
