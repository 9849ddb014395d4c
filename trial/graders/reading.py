"""What a replay answered, in the forms that graders judge. An answer that was cut is no answer."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evidence.cases import CaseContent, RecordedCall, RecordedTurn
from trial.replay import Replay
from trial.turns import ReplayedTurn

NOT_JSON = "the reply holds what is no JSON: not a number, half a character, or too deep"
NO_END = "the stream ended without its end"
CUT = "the answer was cut: finish_reason is length"
DONE = "[DONE]"
REPLY_CAP = 4000


def truncated(turn: ReplayedTurn) -> str | None:
    """Why this answer is not a whole one, or None. A cut answer can never pass."""
    if turn.status is None:
        return turn.error or "no whole answer came"
    reply = turn.reply
    if not _sound(reply):
        return NOT_JSON
    if isinstance(reply, list):
        return _cut_stream(reply)
    if "length" in _finish_reasons([reply]):
        return CUT
    declared = turn.headers.get("content-type", "")
    if declared.startswith("application/json") and isinstance(reply, str) and not _is_json_text(reply):
        return "the reply says that it is JSON and is not: it may have been cut"
    return None


def _sound(value: object) -> bool:
    """Hostile replies parse in Python and then break whatever handles them as JSON."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def stable_text(value: object) -> str:
    """JSON with sorted keys, for comparing and for patterns."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _cut_stream(frames: list[Any]) -> str | None:
    parsed = [_frame(frame) for frame in frames]
    reasons = _finish_reasons(parsed)
    if "length" in reasons:
        return CUT
    ended = bool(frames) and frames[-1] == DONE
    return None if ended or reasons else NO_END


def _is_json_text(text: str) -> bool:
    """A JSON document that is one string arrives as that string; a broken one arrives as its raw text."""
    return not text.lstrip().startswith(("{", "[", '"'))


def _frame(frame: object) -> object:
    if not isinstance(frame, str):
        return frame
    try:
        return json.loads(frame)
    except (ValueError, RecursionError):
        return frame


def _finish_reasons(parts: Sequence[object]) -> set[str]:
    return {
        reason
        for part in parts
        for choice in _choices(part)
        if isinstance(reason := choice.get("finish_reason"), str)
    }


def _choices(part: object) -> list[Mapping[str, Any]]:
    choices = part.get("choices") if isinstance(part, Mapping) else None
    return [c for c in choices if isinstance(c, Mapping)] if isinstance(choices, list) else []


def answer_text(turn: ReplayedTurn) -> str:
    """The assistant's words: of the first choice, or of a stream's deltas; else the reply itself."""
    reply = turn.reply
    if isinstance(reply, list):
        return "".join(_delta(_frame(frame)) for frame in reply)
    for choice in _choices(reply)[:1]:
        message = choice.get("message")
        if isinstance(message, Mapping):
            return _content(message.get("content"))
    if isinstance(reply, str):
        return reply
    return "" if reply is None else stable_text(reply)


def shown_reply(turn: ReplayedTurn, redact: Callable[[str], str] = str) -> str:
    """The words of an answer for people to read, without secrets and capped; whatever a service sent, this can be
    stored."""
    try:
        text = answer_text(turn)
    except (RecursionError, ValueError):
        return ""
    # Redacted beyond the cap too: half a secret would not be known for one.
    shown = redact(text[: 2 * REPLY_CAP].encode("utf-8", "replace").decode())[:REPLY_CAP]
    more = f" … [{len(text) - REPLY_CAP:,} more characters]" if len(text) > REPLY_CAP else ""
    return shown + more


def _delta(part: object) -> str:
    for choice in _choices(part)[:1]:
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            return _content(delta.get("content"))
    return ""


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p["text"]) for p in content if isinstance(p, Mapping) and "text" in p)
    return ""


def asked_for_tools(turn: ReplayedTurn) -> bool:
    """The answer hands tool calls to the client instead of words."""
    messages = [choice.get("message") for choice in _choices(turn.reply)[:1]]
    return any(isinstance(message, Mapping) and message.get("tool_calls") for message in messages)


def last_user_text(turn: RecordedTurn) -> str:
    """The last user message, or the whole body as JSON where there is none."""
    messages = turn.body.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return _content(message.get("content"))
    return stable_text(turn.body)


def request_view(turn: RecordedTurn) -> dict[str, object]:
    """What paths on a request are applied to."""
    return {"path": turn.path, "body": turn.body}


def own_calls(case: CaseContent, replay: Replay) -> list[RecordedCall]:
    """The gateway's tool calls of the case's own turn: those that began after it was sent, whatever turn they name,
    and earlier ones under an id that no prelude turn has."""
    earlier = {turn.request_id for turn in case.prelude} - {case.turn.request_id}

    def is_own(call: RecordedCall) -> bool:
        began_later = replay.own_from is not None and call.start_order > replay.own_from
        return began_later or call.request_id not in earlier

    return [call for call in replay.calls if call.kind == "tool" and is_own(call)]


def case_view(case: CaseContent) -> dict[str, object]:
    """A case as sandboxed graders see it."""
    return {
        "id": case.id,
        "request": {**request_view(case.turn), "session": case.turn.session, "clock": case.turn.started},
        "recorded": {"status": case.turn.status, "reply": case.turn.reply},
        "prelude": [{**request_view(turn), "session": turn.session} for turn in case.prelude],
    }


def replay_view(replay: Replay, files: str) -> dict[str, object]:
    """A replay as sandboxed graders see it; `files` is where they find the exported folder."""
    return {
        "turns": [_turn_view(turn) for turn in replay.turns],
        "turn": _turn_view(replay.turn),
        "calls": [call.model_dump(mode="json") for call in replay.calls],
        "events": list(replay.events),
        "files": files,
    }


def rule_view(case: CaseContent, replay: Replay) -> dict[str, Any]:
    """The case's own turn as rules and signals see it, on live traffic and in replays alike."""
    ident = case.turn.request_id
    turn = replay.turn
    return {
        "request": case.turn.body,
        "path": case.turn.path,
        "request_id": ident,
        "session": case.turn.session,
        "reply": turn.reply,
        "status": turn.status,
        "latency": turn.latency,
        "timed_out": False,
        "lost": turn.status is None,
        "flags": [],
        "events": [event for event in replay.events if event.get("turn") == ident and _plain(event)],
        "calls": [call.model_dump(mode="json") for call in replay.calls if call.request_id == ident],
    }


def _plain(event: Mapping[str, object]) -> bool:
    """The candidate wrote its log; signals and rules may rely on ids being text."""
    return isinstance(event.get("kind"), str) and isinstance(event.get("call_id") or "", str)


def _turn_view(turn: ReplayedTurn) -> dict[str, object]:
    return {
        "request_id": turn.request_id,
        "status": turn.status,
        "reply": turn.reply,
        "text": answer_text(turn),
        "headers": dict(turn.headers),
        "latency": turn.latency,
        "error": turn.error,
    }
