"""Whether a run of a workflow did what a case asks for, told from its answer and from the calls that worked.

What a case's `verify` may say:

- `answer`: texts that have to stand in the answer, a number not within a longer one; `{"matches": …}` is a regular
  expression that has to be found in it;
- `calls`: tools that have to be called, with at least these arguments.

A run without an answer has done nothing. A case that asks for nothing would hold whatever happens, and is refused.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError

from workflows.calling import Outcome, ToolRequest
from workflows.graph import Name, ToolKey, strict

MISSING = object()


class CasesError(ValueError):
    """The JSON is no list of cases; the message names the first place."""


@strict
@dataclass(frozen=True, slots=True)
class Matches:
    matches: str
    """Looked for anywhere in the answer."""


@strict
@dataclass(frozen=True, slots=True)
class WantedCall:
    tool: ToolKey
    arguments: Mapping[str, object] = field(default_factory=dict)


Wanted = Annotated[
    Annotated[Matches, Tag("matches")] | Annotated[str, Tag("text")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "matches"),
]


@strict
@dataclass(frozen=True, slots=True)
class Verify:
    answer: tuple[Wanted, ...] = ()
    calls: tuple[WantedCall, ...] = ()


@strict
@dataclass(frozen=True, slots=True)
class Case:
    verify: Verify
    inputs: Mapping[Name, object] = field(default_factory=dict)


@strict
@dataclass(frozen=True, slots=True)
class _File:
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]


def read_cases(data: object) -> tuple[Case, ...]:
    """Raises CasesError."""
    try:
        found = _adapter().validate_json(json.dumps(data, allow_nan=False)).cases
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CasesError(f"{'.'.join(map(str, first['loc'])) or 'cases'}: {first['msg']}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise CasesError(f"not JSON: {error}") from None
    for index, case in enumerate(found):
        if not case.verify.answer and not case.verify.calls:
            raise CasesError(f"cases.{index}.verify: says nothing that has to hold")
        for place, wanted in enumerate(case.verify.answer):
            try:
                re.compile(wanted.matches if isinstance(wanted, Matches) else "")
            except (re.error, OverflowError, RecursionError) as error:
                where = f"cases.{index}.verify.answer.{place}.matches"
                raise CasesError(f"{where}: not a regular expression: {error}") from None
    return found


def cases_schema() -> dict[str, Any]:
    """The published schema of a file of cases."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "cases.schema.json",
        "title": "cases",
        "description": "Inputs of a workflow, and what has to hold of its run on them.",
    }
    return {**_adapter().json_schema(), **head}


def complaints(verify: Verify, calls: Iterable[tuple[ToolRequest, Outcome]], answer: str | None) -> list[str]:
    """Each in a line; none means that it is done."""
    worked = [request for request, outcome in calls if outcome.error is None]
    return [*_answer(verify, answer), *_calls(verify, worked)]


def _answer(verify: Verify, answer: str | None) -> Iterator[str]:
    if answer is None:
        yield "there is no answer"
        return
    for wanted in verify.answer:
        if isinstance(wanted, Matches):
            if re.search(wanted.matches, answer) is None:
                yield f"nothing in the answer matches {wanted.matches}"
        elif not stands_in(wanted, answer):
            yield f"the answer lacks {wanted}"


def _calls(verify: Verify, worked: list[ToolRequest]) -> Iterator[str]:
    for wanted in verify.calls:
        if not any(is_call(request, wanted.tool, wanted.arguments) for request in worked):
            yield f"{wanted.tool} was not called as it has to be"


def stands_in(text: str, whole: str) -> bool:
    """A number does not stand in a longer one."""
    head = r"(?<!\d)" if text[:1].isdigit() else ""
    tail = r"(?!\d)" if text[-1:].isdigit() else ""
    return re.search(head + re.escape(text) + tail, whole) is not None


def is_call(request: ToolRequest, tool: str, arguments: Mapping[str, object]) -> bool:
    """Of this tool, with at least these arguments."""
    named = arguments.items()
    return request.tool == tool and all(
        request.arguments.get(name, MISSING) == value for name, value in named
    )


@cache
def _adapter() -> TypeAdapter[_File]:
    return TypeAdapter(_File)
