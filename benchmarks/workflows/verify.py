"""Whether a task is done, told from the world before and after, the calls that were made, and the answer.

What a task's `verify` may say:

- `world`: name in the state -> what has to hold of it. All else has to be as it was: who changes what was not asked for has
  not done the task. `equals` a value, `contains` texts, `first` (of a list), `gone`, or `result`, what a call returned.
- `answer`: texts that have to stand in the answer, and in the result of a call that was made: an answer that is guessed is
  none. Or what a call returned: `{"tool", "arguments", "path", "part"}`; `part` is a regular expression whose group counts,
  and with `"shown": false` the call has to be made, but its result need not stand in the answer.
- `calls`: calls that have to be made, with at least these arguments.

Calls count only if they worked.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workflows.calling import Outcome, ToolRequest
from workflows.verify import is_call, stands_in

Calls = Sequence[tuple[ToolRequest, Outcome]]
State = Mapping[str, Any]
MISSING = object()


def complaints(
    verify: Mapping[str, Any], before: State, after: State, calls: Calls, answer: str | None
) -> list[str]:
    """Each in a line; none means that the task is done."""
    worked = [(request, outcome.value) for request, outcome in calls if outcome.error is None]
    return [
        *_world(verify.get("world", {}), before, after, worked),
        *_calls(verify.get("calls", []), worked),
        *_answer(verify.get("answer", []), worked, answer or ""),
    ]


Worked = Sequence[tuple[ToolRequest, Any]]


def _world(wanted: Mapping[str, Any], before: State, after: State, worked: Worked) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in wanted and before.get(name, MISSING) != after.get(name, MISSING):
            yield f"{name}: changed, and nobody asked for it"
    for name, check in wanted.items():
        wrong = _wrong(check, after.get(name, MISSING), worked)
        if wrong:
            yield f"{name}: {wrong}"


def _wrong(check: Mapping[str, Any], value: Any, worked: Worked) -> str | None:
    if "gone" in check:
        return None if value is MISSING else "still there"
    if value is MISSING:
        return "not there"
    if "contains" in check:
        lost = [text for text in map(str, check["contains"]) if not stands_in(text, str(value))]
        return f"without {', '.join(lost)}" if lost else None
    if "first" in check:
        value = value[0] if value else MISSING
    kind, expected = next(iter(check.items()))
    if kind == "result" or (isinstance(expected, dict) and "tool" in expected):
        found = list(results(expected, worked))
        return None if value in found else f"not what {expected['tool']} returned"
    return None if value == expected else f"{str(value)[:80]!r} instead of {str(expected)[:80]!r}"


def _calls(wanted: Sequence[Mapping[str, Any]], worked: Worked) -> Iterator[str]:
    for call in wanted:
        if not any(_matches(call, request) for request, _ in worked):
            yield f"{call['tool']} was not called as it has to be"


def _answer(wanted: Sequence[Any], worked: Worked, answer: str) -> Iterator[str]:
    seen = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for _, value in worked]
    for part in wanted:
        if isinstance(part, dict):
            found = [str(value) for value in results(part, worked)]
            shown = not part.get("shown", True) or any(stands_in(text, answer) for text in found)
            if not found or not shown:
                yield f"the answer lacks what {part['tool']} returned"
            continue
        text = str(part)
        if not stands_in(text, answer):
            yield f"the answer lacks {text}"
        elif not any(stands_in(text, value) for value in seen):
            yield f"no call returned {text}"


def results(wanted: Mapping[str, Any], worked: Worked) -> Iterator[Any]:
    """What calls returned that are as `wanted`, at its path."""
    for request, value in worked:
        if not _matches(wanted, request):
            continue
        for part in wanted["path"].split(".") if wanted["path"] else ():
            value = value.get(part, MISSING) if isinstance(value, dict) else MISSING
        if value is MISSING:
            continue
        if "part" in wanted:
            match = re.search(wanted["part"], str(value))
            if match:
                yield match[1]
        else:
            yield value


def _matches(wanted: Mapping[str, Any], request: ToolRequest) -> bool:
    return is_call(request, wanted["tool"], wanted["arguments"])
