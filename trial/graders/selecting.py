"""What `select` in a grader's configuration means."""

import json
from typing import Any

from evidence.cases import CaseContent
from trial.graders.matcher import Matcher
from trial.graders.reading import answer_text, request_view, stable_text
from trial.replay import Replay


def select(how: str, replay: Replay, matcher: Matcher) -> list[Any]:
    """The values to judge; empty when a JSON path on the reply selects none."""
    turn = replay.turn
    if how == "text":
        return [answer_text(turn)]
    if how == "status":
        return [turn.status]
    return [turn.reply] if how == "reply" else matcher.path(how, turn.reply)


def as_text(value: object) -> str:
    return value if isinstance(value, str) else stable_text(value)


def as_json(value: object) -> tuple[Any, str]:
    """(the value with text parsed as JSON, why that failed). Trailing words make it no JSON."""
    if not isinstance(value, str):
        return value, ""
    try:
        return json.loads(value, parse_constant=_no_constant), ""
    except (ValueError, RecursionError) as error:
        return None, f"not JSON: {error}"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def from_request(path: str, case: CaseContent, matcher: Matcher) -> list[Any]:
    """The first value that the path selects in the request, in a list; empty when there is none."""
    return matcher.path(path, request_view(case.turn))[:1]


def same(a: object, b: object) -> bool:
    """Equal as JSON: true is not 1."""
    return stable_text(a) == stable_text(b)
