"""The selected value equals the expected one."""

from dataclasses import dataclass

from evidence.cases import CaseContent
from trial.graders.base import GraderBroken, make_grade
from trial.graders.config import ExactConfig
from trial.graders.matcher import Matcher
from trial.graders.selecting import as_text, from_request, same, select
from trial.replay import Replay
from trial.report import Grade


@dataclass(frozen=True)
class ExactGrader:
    config: ExactConfig
    digest: str
    matcher: Matcher

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        config = self.config
        expected: object = config.expected
        if config.expected_path is not None:
            found = from_request(config.expected_path, case, self.matcher)
            if not found:
                raise GraderBroken(f"{config.name}: the request holds nothing at {config.expected_path}")
            expected = found[0]
        seen = select(config.select, replay, self.matcher)
        right = any(same(self._plain(value), self._plain(expected)) for value in seen)
        shown = as_text(seen[0])[:120] if seen else "nothing"
        reason = "" if right else f"expected {as_text(expected)[:120]!r}, saw {shown!r}"
        return make_grade(config.name, float(right), config.pass_at, reason)

    def _plain(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        value = value.strip() if self.config.strip else value
        return value.casefold() if self.config.ignore_case else value
