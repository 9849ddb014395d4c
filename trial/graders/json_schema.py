"""The selected value is valid under a JSON Schema."""

from dataclasses import dataclass

from evidence.cases import CaseContent
from trial.graders.base import make_grade
from trial.graders.config import JsonSchemaConfig
from trial.graders.matcher import Matcher
from trial.graders.selecting import as_json, select
from trial.replay import Replay
from trial.report import Grade


@dataclass(frozen=True)
class JsonSchemaGrader:
    config: JsonSchemaConfig
    digest: str
    matcher: Matcher
    schema: object

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        values = select(self.config.select, replay, self.matcher)
        reason = "nothing was selected"
        for value in values:
            parsed, reason = as_json(value)
            reason = reason or self.matcher.schema(self.schema, parsed) or ""
            if reason:
                break
        return make_grade(self.config.name, float(not reason), self.config.pass_at, reason)
