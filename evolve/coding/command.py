"""Any external command as a coder: an argument template, the task in a file, a sandbox around it."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from containers.runtime import Limits, Mount
from evolve.coding import call
from evolve.coding.clis.adapter import KEY, Said
from evolve.coding.protocol import CodingBudget, CodingResult, CodingSandbox, CodingTask, Missing, Version


@dataclass(frozen=True)
class CommandCoder:
    """`argv` may hold `{task}` (the task file), `{repo}` (the worktree), both paths inside the sandbox, and `{seed}`.

    With a model it finds the gateway at `$MODEL_BASE_URL` and a key, that is none, in `$MODEL_API_KEY`.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Limits = call.LIMITS
    model: call.Model | None = None
    resumes: bool = False

    def probe(self) -> Version | Missing:
        program = Path(self.argv[0]) if self.argv else None
        if program is None:
            return Missing(f"coder {self.name!r} has an empty argv")
        gone = [str(mount.source) for mount in self.mounts if not mount.source.exists()]
        if gone:
            return Missing(f"coder {self.name!r}: {gone[0]}: not found, but named in mounts")
        if program.is_absolute() and not self._is_visible(program):
            return Missing(f"{program}: not found, or not under /usr or a folder named in mounts")
        return Version(" ".join(self.argv))

    def _is_visible(self, program: Path) -> bool:
        shown = [Path("/usr"), Path("/bin"), Path(sys.base_prefix), *(Path(m.target) for m in self.mounts)]
        inside = [mount for mount in self.mounts if program.is_relative_to(mount.target)]
        on_host = inside[0].source / program.relative_to(inside[0].target) if inside else program
        return on_host.exists() and any(program.is_relative_to(folder) for folder in shown)

    def run(
        self, task: CodingTask, worktree: Path, *, sandbox: CodingSandbox, budget: CodingBudget
    ) -> CodingResult:
        values = {"{task}": call.TASK_FILE, "{repo}": call.REPO, "{seed}": str(task.seed)}
        door = {"MODEL_BASE_URL": call.BASE, "MODEL_API_KEY": KEY} if self.model else {}
        command = call.Command(
            argv=tuple(_fill(word, values) for word in self.argv),
            env={"HOME": "/tmp", **door, **self.env},
            mounts=self.mounts,
            limits=self.limits,
        )
        return call.run(
            self.name,
            command,
            task,
            worktree,
            sandbox=sandbox,
            budget=budget,
            read=lambda output: Said(),
            model=self.model,
        )


def _fill(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word
