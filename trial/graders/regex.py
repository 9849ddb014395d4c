"""A pattern is found in the selected text, or is not."""

from dataclasses import dataclass

from evidence.cases import CaseContent
from trial.graders.base import make_grade
from trial.graders.config import RegexConfig
from trial.graders.matcher import Matcher
from trial.graders.selecting import as_text, select
from trial.replay import Replay
from trial.report import Grade


@dataclass(frozen=True)
class RegexGrader:
    config: RegexConfig
    digest: str
    matcher: Matcher

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        config = self.config
        texts = [as_text(value) for value in select(config.select, replay, self.matcher)]
        found = any(self.matcher.regex(config.pattern, text, full=config.full) for text in texts)
        right = bool(texts) and found != config.absent
        what = "was found" if found else "was not found"
        return make_grade(
            config.name, float(right), config.pass_at, "" if right else f"{config.pattern!r} {what}"
        )
