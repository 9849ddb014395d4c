"""Required tool calls were made, forbidden ones were not, as the gateway saw them.

The agent's own report of its calls is not looked at: `checks.reported_calls` compares the two.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from evidence.cases import CaseContent, RecordedCall
from trial.graders.base import GraderBroken, make_grade
from trial.graders.config import ToolPattern, ToolTraceConfig
from trial.graders.matcher import Matcher
from trial.graders.reading import own_calls
from trial.graders.selecting import as_text, from_request, same
from trial.replay import Replay
from trial.report import Grade

_ABSENT: Any = object()


@dataclass(frozen=True)
class ToolTraceGrader:
    config: ToolTraceConfig
    digest: str
    matcher: Matcher

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        calls = [call for call in own_calls(case, replay) if "#" not in call.target]
        score, reason = self._judge(case, sorted(calls, key=lambda call: call.start_order))
        return make_grade(self.config.name, score, self.config.pass_at, reason)

    def _judge(self, case: CaseContent, calls: list[RecordedCall]) -> tuple[float, str]:
        config = self.config
        for pattern in config.forbidden:
            for call in calls:
                if self._fits(pattern, call, case):
                    return 0.0, f"a forbidden call was made: {_say(call)}"
        fits = [[self._fits(pattern, call, case) for call in calls] for pattern in config.required]
        met = _in_order(fits) if config.ordered else _matched(fits)
        if met < len(config.required):
            how = " in this order" if config.ordered else ""
            seen = ", ".join(_say(call) for call in calls[:5]) or "no call"
            wanted = ", ".join(pattern.tool for pattern in config.required)
            return met / len(config.required), f"{met} of the required calls{how} ({wanted}) among: {seen}"
        if config.only and len(calls) > len(config.required):
            return 0.0, f"{len(calls)} calls were made, {len(config.required)} are required and no other"
        return 1.0, ""

    def _fits(self, pattern: ToolPattern, call: RecordedCall, case: CaseContent) -> bool:
        if not fnmatchcase(call.target, pattern.tool):
            return False
        return (
            all(same_at(call, name, value) for name, value in pattern.arguments.items())
            and all(
                (found := argument(call, name)) is not _ABSENT and self.matcher.regex(regex, as_text(found))
                for name, regex in pattern.matches.items()
            )
            and all(
                self._equals_request(call, name, path, case) for name, path in pattern.from_request.items()
            )
        )

    def _equals_request(self, call: RecordedCall, name: str, path: str, case: CaseContent) -> bool:
        wanted = from_request(path, case, self.matcher)
        if not wanted:
            raise GraderBroken(f"{self.config.name}: the request holds nothing at {path}")
        return same_at(call, name, wanted[0])


def argument(call: RecordedCall, name: str) -> Any:
    """The call's argument at a dotted name, or a marker when there is none."""
    value: Any = call.request
    for part in ("arguments", *name.split(".")):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def same_at(call: RecordedCall, name: str, wanted: object) -> bool:
    found = argument(call, name)
    return found is not _ABSENT and same(found, wanted)


def _in_order(fits: list[list[bool]]) -> int:
    """How many patterns, from the first on, are met by calls that began one after the other."""
    met, calls = 0, len(fits[0]) if fits else 0
    for position in range(calls):
        if met < len(fits) and fits[met][position]:
            met += 1
    return met


def _matched(fits: list[list[bool]]) -> int:
    """How many patterns can be met at once, each by a call of its own (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(pattern: int, tried: set[int]) -> bool:
        for call, fit in enumerate(fits[pattern]):
            if fit and call not in tried:
                tried.add(call)
                if call not in taken or place(taken[call], tried):
                    taken[call] = pattern
                    return True
        return False

    return sum(place(pattern, set()) for pattern in range(len(fits)))


def _say(call: RecordedCall) -> str:
    arguments = call.request.get("arguments") if isinstance(call.request, dict) else None
    return f"{call.target}({as_text(arguments)[:80]})"
