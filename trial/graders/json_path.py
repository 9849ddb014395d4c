"""A JSON path selects something, or exactly what is said."""

from dataclasses import dataclass

from evidence.cases import CaseContent
from trial.graders.base import make_grade
from trial.graders.config import JsonPathConfig
from trial.graders.matcher import Matcher
from trial.graders.selecting import as_json, as_text, same, select
from trial.replay import Replay
from trial.report import Grade


@dataclass(frozen=True)
class JsonPathGrader:
    config: JsonPathConfig
    digest: str
    matcher: Matcher

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        found: list[object] = []
        for value in select(self.config.select, replay, self.matcher):
            parsed, reason = as_json(value)
            if reason:
                return make_grade(self.config.name, 0.0, self.config.pass_at, reason)
            found += self.matcher.path(self.config.path, parsed)
        reason = self._wrong(found)
        return make_grade(self.config.name, float(not reason), self.config.pass_at, reason)

    def _wrong(self, found: list[object]) -> str:
        config = self.config
        if config.count is not None and len(found) != config.count:
            return f"{config.path} selects {len(found)} values, not {config.count}"
        if "equals" in config.model_fields_set:
            if not any(same(value, config.equals) for value in found):
                shown = as_text(found[0])[:120] if found else "nothing"
                return f"{config.path} selects {shown!r}, not {as_text(config.equals)[:120]!r}"
            return ""
        return "" if found or config.count == 0 else f"{config.path} selects nothing"
