"""A command of the operator's, in a sandbox of its own: exit code 0 passes, 1 fails, all else is a broken
grader."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evidence.cases import CaseContent
from trial.graders.base import GraderBroken, make_grade
from trial.graders.config import ShellConfig
from trial.graders.reading import case_view, replay_view
from trial.graders.sandbox import GraderSandbox
from trial.replay import Replay
from trial.report import Grade


@dataclass(frozen=True)
class ShellGrader:
    config: ShellConfig
    digest: str
    folder: str
    sandbox: Callable[[], GraderSandbox]

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        config = self.config

        def documents(files: str) -> Mapping[str, object]:
            return {"case.json": case_view(case), "replay.json": replay_view(replay, files)}

        code, output = self.sandbox().run(config.argv, self.folder, documents, replay.files, config.timeout)
        if code is None:
            raise GraderBroken(f"{config.name}: took longer than {config.timeout:g} s")
        if code not in (0, 1):
            raise GraderBroken(f"{config.name}: ended with {code}: {output[-200:].strip()!r}")
        said = output.strip().splitlines()
        return make_grade(config.name, float(code == 0), config.pass_at, said[-1] if said else "")
