"""What stands in a prompt: read back by the weak planner, which knows nothing else of whoever asks it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.workflows import react
from benchmarks.workflows.slips import Shown
from workflows.planner import FAILED, REQUEST, TOOL

_SIGNATURE = re.compile(re.escape(TOOL) + r"(\S+/\S+?)\((.*?)\) -> ")
_NAMED = re.compile(r"^s\d+(?=[.:])")


@dataclass(frozen=True)
class Result:
    """Of one call in a ReAct prompt."""

    worked: bool
    value: Any = None
    """None also where it was cut short."""


@dataclass(frozen=True)
class Prompt:
    request: str
    shown: Sequence[Shown]
    retry: bool
    """A plan failed before."""
    named: frozenset[str]
    """Steps that the errors of a plan name."""
    stepwise: bool
    past: Sequence[Result]


def read_prompt(messages: Sequence[dict[str, str]]) -> Prompt:
    texts = [message["content"] for message in messages]
    lines = texts[1].splitlines()
    last = texts[-1].splitlines()
    retry = len(texts) > 2 and last[0] == FAILED
    errors = [line.removeprefix(TOOL) for line in last[1:]] if retry else []
    return Prompt(
        request=next(line.removeprefix(REQUEST) for line in lines if line.startswith(REQUEST)),
        shown=[_shown(found) for line in lines if (found := _SIGNATURE.match(line))],
        retry=retry,
        named=frozenset(found[0] for error in errors if (found := _NAMED.match(error))),
        stepwise=texts[0] == react.FORM,
        past=[_result(line) for line in lines if line.startswith((react.RESULT, react.ERROR))],
    )


def _shown(found: re.Match[str]) -> Shown:
    names = re.findall(r"(?:^|, )([\w-]+)(\??): ", _without_insides(found[2]))
    required = tuple(name for name, optional in names if not optional)
    return Shown(found[1], required, tuple(name for name, optional in names if optional))


def _without_insides(text: str) -> str:
    """Without what stands in brackets: the names in there are not the tool's."""
    while (less := re.sub(r"\[[^\[\]{}]*\]|\{[^\[\]{}]*\}", "", text)) != text:
        text = less
    return text


def _result(line: str) -> Result:
    if line.startswith(react.ERROR):
        return Result(False)
    try:
        return Result(True, json.loads(line.removeprefix(react.RESULT)))
    except ValueError:
        return Result(True)
