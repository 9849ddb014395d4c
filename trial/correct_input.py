"""Was the model asked on correct input? Computed from the gateway's own record of a turn, never a matter of opinion.

Every model request of the turn must carry what the service had to hand on: each user message of the session, word for word
and nothing else from a user; what the client was answered before, and what the model said before in this turn; the result of
every tool call under its own id, unmodified; the tools, as their servers describe them; what the client asked of the model's
answer. What can't be read counts as not correct: whoever is in doubt here blames the service. A service's own system prompt
is not judged.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evidence.canonical import canonical_json
from evidence.cases import CaseContent, RecordedCall
from trial.gateway import chat
from trial.gateway.right_answer import RightAnswer, RightCall

Fits = Callable[[object, object], bool]
"""Is a value valid under a JSON Schema?"""
_INSTRUCTIONS = ("system", "developer")
_ASKED_OF_THE_ANSWER = (
    "response_format", "tools", "tool_choice", "stop", "seed", "temperature", "top_p", "max_tokens", "max_completion_tokens",
    "reasoning_effort", "logit_bias",
)  # fmt: skip
_JOINTS = ("", "\n", "\n\n", " ")


def wrong_input(case: CaseContent, calls: Sequence[RecordedCall], right: RightAnswer, fits: Fits) -> str:
    """What the first bad model request lacks or has altered; empty when the input was correct throughout. `calls`: those of
    the case's own turn, as a gateway saw them."""
    if any(turn.session != case.turn.session for turn in case.prelude):
        return "the failure needs turns of another session: something of the service's outlives them"
    due = _due(case)
    if due is None:
        return "a turn of the session is not read here"
    models = sorted((c for c in calls if c.kind == "model"), key=lambda call: call.start_order)
    tools = sorted(
        (c for c in calls if c.kind == "tool" and "#" not in c.target), key=lambda c: c.start_order
    )
    if not models:
        return "the turn asked no model"
    for number, model in enumerate(models, 1):
        seen = _Seen(
            model.request,
            earlier=[one for one in models if one.end_order < model.start_order],
            made=[one for one in tools if one.end_order < model.start_order],
            catalog=_described(case.cassette.catalog),
            fits=fits,
        )
        why = _unread(model) or seen.handed_on(due) or seen.offers(right.calls) or seen.results()
        if why:
            return f"model call {number}: {why}"
    return ""


@dataclass(frozen=True)
class _Due:
    users: list[object]
    instructions: list[object]
    replies: list[str]
    """What the client was told before this turn."""
    asked: dict[str, object]
    """Of the answer, with this turn."""


def _due(case: CaseContent) -> _Due | None:
    """What the session's clients said up to this turn. One that sends its whole conversation each time says it once."""
    asked = {name: case.turn.body[name] for name in _ASKED_OF_THE_ANSWER if name in case.turn.body}
    replies = [_reply(turn.reply) for turn in case.prelude]
    if None in replies:
        return None
    sent = _replies(chat.messages(case.turn.body) or ())
    due = _Due([], [], sent or [said.text for said in replies if said], asked)
    for turn in (*case.prelude, case.turn):
        messages = chat.messages(turn.body)
        if messages is None:
            return None
        users = _contents(messages, "user")
        known = len(due.users)
        due.users.extend(users[known:] if users[:known] == due.users else users)
        due.instructions.extend(_contents(messages, *_INSTRUCTIONS))
    return due


def _reply(reply: object) -> chat.Said | None:
    """A stream was kept as the list of its frames."""
    return chat.said({"frames": [{"data": frame} for frame in reply]} if isinstance(reply, list) else reply)


def _contents(messages: Sequence[Mapping[str, object]], *roles: str) -> list[object]:
    return [message.get("content") for message in messages if message.get("role") in roles]


def _replies(messages: Sequence[Mapping[str, object]]) -> list[str]:
    """What an assistant said in words."""
    said = [chat.message_said(message) for message in messages if message.get("role") == "assistant"]
    return [one.text for one in said if not one.asks]


def _unread(model: RecordedCall) -> str:
    if model.target != chat.PATH or chat.messages(model.request) is None:
        return f"a request to {model.target} is not read here, only chat completions are"
    said = chat.said(model.response) if model.status == 200 else None
    if said is None:
        return f"the model gave no answer (status {model.status})"
    return "its answer was cut" if said.finish_reason == "length" else ""


@dataclass(frozen=True)
class _Seen:
    """One model request and what came before it in its turn: model calls and tool calls that had ended."""

    request: object
    earlier: Sequence[RecordedCall]
    made: Sequence[RecordedCall]
    catalog: Mapping[str, Mapping[str, object]]
    fits: Fits

    @property
    def messages(self) -> list[Mapping[str, object]]:
        return chat.messages(self.request) or []

    @property
    def since_user(self) -> list[Mapping[str, object]]:
        """What follows the last user message."""
        messages = self.messages
        last = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=-1)
        return messages[last + 1 :]

    def handed_on(self, due: _Due) -> str:
        if _contents(self.messages, "user") != due.users:
            return "user messages are missing, altered or not this session's"
        instructions = _contents(self.messages, *_INSTRUCTIONS)
        if any(one not in instructions for one in due.instructions):
            return "a client's instruction is missing or altered"
        before = self.messages[: len(self.messages) - len(self.since_user)]
        if _replies(before) != due.replies:
            return "earlier replies are missing or altered"
        request = self.request if isinstance(self.request, dict) else {}
        wrong = next((name for name, value in due.asked.items() if request.get(name) != value), "")
        return f"the client's {wrong} is not handed on" if wrong else ""

    def offers(self, calls: Sequence[RightCall]) -> str:
        """All tools, for also who is to answer in words may have to look first; among them those that are to be called."""
        for tool, described in self.catalog.items():
            offer = chat.offer_of(self.request, tool)
            if offer is None:
                return f"{tool} is not offered"
            schema = described.get("inputSchema")
            same = str(offer.get("description") or "") == str(described.get("description") or "")
            if not same or (schema and offer.get("parameters") != schema):
                return f"{tool} is offered otherwise than its server describes it"
        for call in calls:
            if call.tool not in self.catalog:
                return f"no server is known to have {call.tool}"
            schema = self.catalog[call.tool].get("inputSchema")
            if schema and not self.fits(schema, call.arguments):
                return f"not all arguments of the right call of {call.tool} are known"
        return ""

    def results(self) -> str:
        """Of the calls that the model asked for in this turn."""
        answers = [chat.said(model.response) for model in self.earlier]
        repeated = [chat.message_said(m) for m in self.since_user if m.get("role") == "assistant"]
        if [_gist(one) for one in answers] != [_gist(one) for one in repeated]:
            return "what the model said before is missing or altered"
        told = [(m.get("tool_call_id"), m.get("content")) for m in self.since_user if m.get("role") == "tool"]
        left = list(self.made)
        asked = [
            (ask, model) for model, one in zip(self.earlier, answers, strict=True) if one for ask in one.asks
        ]
        for ask, model in asked:
            mine = [content for ident, content in told if ident == ask.id]
            if len(mine) != 1:
                return f"the result of {ask.name} is missing"
            call = next((one for one in left if _is_call(ask, one)), None)
            if call is not None:
                left.remove(call)
                if not _is_told(call.response, mine[0]):
                    return f"the result of {ask.name} is altered"
            elif self._makes_sense(ask, model.request):
                return f"the call of {ask.name} that the model asked for was not made"
        if left:
            return f"the model did not ask for the call of {left[0].target}"
        return "it holds the result of no call" if len(told) != len(asked) else ""

    def _makes_sense(self, ask: chat.Ask, request: object) -> bool:
        """Of a call that can't be made the service says what it likes: no such tool, or no such arguments."""
        if ask.arguments is None or all(f.get("name") != ask.name for f in chat.offered(request)):
            return False
        schemas = [
            d.get("inputSchema") for tool, d in self.catalog.items() if chat.stands_for(ask.name, tool)
        ]
        return not schemas or any(not schema or self.fits(schema, ask.arguments) for schema in schemas)


def _gist(said: chat.Said | None) -> object:
    return said and (said.text, [(ask.name, ask.arguments) for ask in said.asks])


def _is_call(ask: chat.Ask, call: RecordedCall) -> bool:
    arguments = call.request.get("arguments") if isinstance(call.request, dict) else None
    same = canonical_json(ask.arguments) == canonical_json(arguments or {})  # to Python, true is 1
    return chat.stands_for(ask.name, call.target) and same


def _is_told(response: object, content: object) -> bool:
    """Is this message what the tool answered, and no more?"""
    answer = response if isinstance(response, dict) else {}
    if isinstance(error := answer.get("error"), dict):
        return str(error.get("message")) in chat.text_of(content)
    result = answer.get("result", answer)
    parts = result.get("content") if isinstance(result, dict) else None
    if isinstance(content, list):
        return content == parts
    texts = [str(p["text"]) for p in parts or [] if isinstance(p, dict) and "text" in p]
    if texts and content in {joint.join(texts) for joint in _JOINTS}:
        return True
    whole = [result, parts, result.get("structuredContent")] if isinstance(result, dict) else [result]
    return _parsed(content) in [one for one in whole if one is not None]


def _parsed(content: object) -> object:
    try:
        return json.loads(content) if isinstance(content, str) else None
    except (ValueError, RecursionError):
        return None


def _described(catalog: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """`server/tool` -> its entry in the server's own listing."""
    found: dict[str, Mapping[str, object]] = {}
    for server, known in catalog.items():
        pages = known.items() if isinstance(known, dict) else ()
        for name, page in pages:
            listed = page.get("tools") if name.startswith("tools/list") and isinstance(page, dict) else None
            for tool in listed if isinstance(listed, list) else []:
                if isinstance(tool, dict):
                    found[f"{server}/{tool.get('name')}"] = tool
    return found
