"""Recorded turns as a person reads them: who said what. Every word is as hostile as where it comes from."""

import json

from evidence.cases import RecordedTurn, SealedBatch, Signal
from evolve.views import Record


class Line(Record):
    """One thing that was said. `role` as recorded: user, assistant, tool, system, or `request` and `reply`
    for other shapes."""

    role: str
    text: str


class Turn(Record):
    request_id: str
    session: str
    status: int | None
    lines: tuple[Line, ...]
    prelude: bool


class Failure(Record):
    """One visible case as it happened: the turns that led to it, the turn that failed, and why it counts as
    failed."""

    case_id: str
    signals: tuple[Signal, ...]
    turns: tuple[Turn, ...]


def failure(batch: SealedBatch | None) -> Failure | None:
    """The visible case with the shortest way to the failure: the one that reads best."""
    if batch is None or not batch.visible:
        return None
    case = min(batch.visible, key=lambda c: (not c.signals, len(c.prelude), len(json.dumps(c.turn.body))))
    turns = [_turn(turn, prelude=True) for turn in case.prelude] + [_turn(case.turn, prelude=False)]
    return Failure(case_id=case.id, signals=case.signals, turns=tuple(turns))


def _turn(turn: RecordedTurn, *, prelude: bool) -> Turn:
    lines = [*_request_lines(turn.body), *_reply_lines(turn.reply)]
    return Turn(
        request_id=turn.request_id,
        session=turn.session,
        status=turn.status,
        lines=tuple(line for line in lines if line.text),
        prelude=prelude,
    )


def _request_lines(body: dict[str, object]) -> list[Line]:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return [Line(role="request", text=_pretty(body))]
    return [_message(message) for message in messages]


def _message(message: object) -> Line:
    if not isinstance(message, dict):
        return Line(role="request", text=_pretty(message))
    content = message.get("content")
    text = content if isinstance(content, str) else _pretty(content) if content is not None else ""
    if calls := message.get("tool_calls"):
        text = f"{text}\n{_pretty(calls)}".strip()
    return Line(role=str(message.get("role") or "message"), text=text)


def _reply_lines(reply: object) -> list[Line]:
    if reply is None:
        return [Line(role="reply", text="(none was seen)")]
    if isinstance(reply, list):
        streamed = "".join(_delta(frame) for frame in reply)
        return [Line(role="assistant", text=streamed or _pretty(reply))]
    if isinstance(reply, dict) and isinstance(choices := reply.get("choices"), list) and choices:
        first = choices[0]
        if isinstance(first, dict) and isinstance(first.get("message"), dict):
            return [_message(first["message"])]
    return [Line(role="reply", text=_pretty(reply))]


def _delta(frame: object) -> str:
    if not isinstance(frame, dict) or not isinstance(choices := frame.get("choices"), list) or not choices:
        return ""
    delta = choices[0].get("delta") if isinstance(choices[0], dict) else None
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""


def _pretty(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)


def asked(turn: RecordedTurn) -> str:
    """The last thing that the user said, else the whole request."""
    lines = _request_lines(turn.body)
    said = [line.text for line in lines if line.role == "user" and line.text]
    return said[-1] if said else " ".join(line.text for line in lines)
