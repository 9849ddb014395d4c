"""A Python function of the operator's, in the warm grader sandbox: `grade(case, replay)` or a rule over the
turn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evidence.cases import CaseContent
from trial.graders.base import GraderBroken, make_grade
from trial.graders.config import PythonConfig, RuleConfig
from trial.graders.reading import case_view, replay_view, rule_view
from trial.graders.sandbox import GraderSandbox
from trial.replay import Replay
from trial.report import Grade


@dataclass(frozen=True)
class PythonGrader:
    config: PythonConfig | RuleConfig
    digest: str
    folder: str
    """Where its files are in the sandbox's code folder."""
    sandbox: Callable[[], GraderSandbox]

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        config = self.config

        def question(files: str) -> Mapping[str, object]:
            rule = config.kind == "rule"
            return {
                "folder": f"/code/{self.folder}",
                "file": config.file,
                "function": config.function,
                "rule": rule,
                "arguments": [rule_view(case, replay)]
                if rule
                else [case_view(case), replay_view(replay, files)],
            }

        try:
            score, reason = self.sandbox().ask(question, replay.files, config.timeout)
        except GraderBroken as error:
            raise GraderBroken(f"{config.name}: {error}") from None
        return make_grade(config.name, score, config.pass_at, reason)
