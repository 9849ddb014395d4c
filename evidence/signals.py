"""Why a turn counts as failed.

Each signal is a pure question to one assembled turn; rules are the operator's own.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence.cases import Signal, SignalKind

Turn = dict[str, Any]
"""request (the body), path, request_id, session, status, reply, latency, timed_out, lost, events, calls,
flags.
"""
Rule = Callable[[Turn], str | None]

MAX_REASON = 500
_TIMEOUT_STATUS = (408, 504)
_ERROR_TEXT = re.compile(
    r"\s*(?:Traceback \(most recent call last\)|"
    r"(?:[A-Za-z_.]*(?:Error|Exception)|error|fatal|failed)\s*[:!])",
    re.I,
)
_BAD_WORDS = ("error", "failed", "failure", "exception")


class RuleError(ValueError):
    """An operator's rule can't be loaded; the message is one line."""


@dataclass(frozen=True)
class LoadedRule:
    name: str
    rule: Rule


def load_rule(name: str, file: Path, function: str) -> LoadedRule:
    """Execute the operator's file and take the function. The file is configuration: it is trusted."""
    namespace: dict[str, Any] = {"__name__": f"evolve_rule_{name}", "__file__": str(file)}
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), namespace)
    except OSError as error:
        raise RuleError(f"rule {name}: {file}: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001 - somebody else's code: whatever it raises is its message
        raise RuleError(f"rule {name}: {file}: {type(error).__name__}: {error}") from None
    found = namespace.get(function)
    if not callable(found):
        raise RuleError(f"rule {name}: {file} has no function {function!r}")
    return LoadedRule(name, found)


@dataclass(frozen=True)
class Judgement:
    """Signals in a fixed order, and the rules that could not answer."""

    signals: tuple[Signal, ...]
    broken_rules: tuple[str, ...] = ()


def judge(turn: Turn, rules: Sequence[LoadedRule] = ()) -> Judgement:
    broken: list[str] = []
    signals = [
        *_exceptions(turn),
        *_timeouts(turn),
        *(list(_tool_errors(turn)) or _workflows(turn)),
        *_rules(turn, rules, broken),
        *_flags(turn),
    ]
    unique = {(s.kind, s.name, s.reason): s for s in signals}
    return Judgement(tuple(unique.values()), tuple(broken))


def _signal(kind: SignalKind, name: str, reason: str) -> Signal:
    return Signal(kind=kind, name=name[:120], reason=" ".join(reason.split())[:MAX_REASON])


def _exceptions(turn: Turn) -> Iterator[Signal]:
    for event in turn["events"]:
        if event.get("kind") == "error":
            name = str(event.get("type") or "error")
            yield _signal(
                "exception", name, f"{name} in {event.get('where', '?')}: {event.get('message', '')}"
            )
    if turn.get("lost"):
        yield _signal("exception", "process_died", "the process ended before the turn did")
    elif (turn.get("status") or 0) >= 500 and turn["status"] not in _TIMEOUT_STATUS:
        yield _signal("exception", f"http_{turn['status']}", f"answered with status {turn['status']}")


def _timeouts(turn: Turn) -> Iterator[Signal]:
    if turn.get("timed_out") or turn.get("status") in _TIMEOUT_STATUS:
        yield _signal("timeout", "turn", f"not answered in time (after {turn.get('latency', 0.0):.1f} s)")


def _tool_errors(turn: Turn) -> Iterator[Signal]:
    for event in turn["events"]:
        if event.get("kind") != "tool_result":
            continue
        tool = f"{event.get('server', '')}/{event.get('tool', '')}".strip("/") or "tool"
        if event.get("is_error"):
            yield _signal("tool_error", tool, f"{tool} failed: {_text(event.get('content'))}")
        elif why := dressed_error(event.get("content")):
            yield _signal("tool_error", tool, f"{tool} reported success, but {why}")
    reported = {event.get("call_id"): event for event in turn["events"] if event.get("kind") == "tool_result"}
    if any(event.get("is_error") for event in reported.values()):
        return
    for call in turn["calls"]:
        if call.get("kind") == "tool" and (why := _call_error(call)):
            yield _signal(
                "tool_error", str(call["target"]), f"{call['target']} failed ({why}), the service hid it"
            )


def _workflows(turn: Turn) -> Iterator[Signal]:
    """Steps that failed without a tool's word, as of a call that could not be put together, where no workflow of the turn
    gave the answer."""
    told = [event for event in turn["events"] if event.get("kind") == "workflow"]
    if any(event.get("answered") for event in told):
        return
    for event in told:
        for step in event["steps"]:
            if step["state"] == "failed":
                what = f"step {step['id']} of the workflow {event['name']} failed"
                tool = step.get("tool") or str(event["name"])
                yield _signal("tool_error", tool, f"{what}: {step.get('error', '')}")


def _call_error(call: Mapping[str, Any]) -> str:
    response = call.get("response")
    if not isinstance(response, dict):
        return ""
    if isinstance(response.get("error"), dict):
        return _text(response["error"].get("message"))
    result = response.get("result", response)
    return _text(result.get("content")) if isinstance(result, dict) and result.get("isError") is True else ""


def dressed_error(content: object) -> str:
    """Why a result that calls itself a success is an error; empty when it is not."""
    text = _text(content, limit=20_000)
    if text.lstrip()[:1] == "{":
        try:
            content = json.loads(text)
        except ValueError:
            return ""
    if isinstance(content, dict):
        return _error_object(content)
    match = _ERROR_TEXT.match(text)
    return f"its text begins with {match.group().strip()!r}" if match else ""


def _error_object(data: Mapping[str, Any]) -> str:
    for key in ("error", "errors", "exception"):
        if data.get(key):
            return f"it carries {key!r}: {_text(data[key])[:200]}"
    for key in ("ok", "success"):
        if data.get(key) is False:
            return f"{key!r} is false"
    if data.get("isError") is True or data.get("is_error") is True:
        return "'isError' is true"
    status = data.get("status")
    if isinstance(status, str) and status.lower() in _BAD_WORDS:
        return f"'status' is {status!r}"
    code = data.get("status_code", status)
    return f"its status is {code}" if isinstance(code, int) and 400 <= code <= 599 else ""


def _text(content: object, limit: int = 300) -> str:
    """MCP content blocks, strings and anything else as text."""
    if isinstance(content, list):
        parts = [str(b.get("text", "")) if isinstance(b, dict) else str(b) for b in content]
        return "\n".join(parts)[:limit]
    if isinstance(content, str):
        return content[:limit]
    return json.dumps(content, default=str)[:limit]


def _rules(turn: Turn, rules: Sequence[LoadedRule], broken: list[str]) -> Iterator[Signal]:
    for loaded in rules:
        try:
            reason = loaded.rule(turn)
        except Exception as error:  # noqa: BLE001 - somebody else's code: reported, never fatal
            broken.append(f"{loaded.name}: {type(error).__name__}: {error}"[:MAX_REASON])
            continue
        if reason is not None and not isinstance(reason, str):
            broken.append(f"{loaded.name}: returned {type(reason).__name__}, not a reason or None")
        elif reason:
            yield _signal("rule", loaded.name, reason)


def _flags(turn: Turn) -> Iterator[Signal]:
    for flag in turn.get("flags", ()):
        yield _signal("user_flag", "flag", flag["comment"] or "flagged without a comment")
