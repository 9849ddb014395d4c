"""Any external command as a coder: an argument template, the task in a file, a sandbox around it."""

import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from containers.runtime import Instance, InstanceSpec, Limits, Mount, Runtime
from evidence.canonical import new_id
from evolve.coding.protocol import (
    CodingBudget,
    CodingOutcome,
    CodingResult,
    CodingSandbox,
    CodingTask,
    Missing,
    Version,
)

LIMITS = Limits(processes=512, memory_bytes=None, open_files=4096)
REPO = "/work/repo"
TASK_FOLDER = "/work/task"
CHECK_CLIENT = Path(__file__).with_name("evolve_check.py")
PATH = "/opt/evolve/bin:/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class CommandCoder:
    """`argv` may hold `{task}` (the task file) and `{repo}` (the worktree); both are paths inside the sandbox."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    limits: Limits = LIMITS

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
        folder = _write_task(task, sandbox.scratch)
        before = tree_digest(worktree)
        instance = sandbox.runtime.start(None, self._spec(task, worktree, folder, sandbox, budget))
        try:
            code = instance.wait(budget.seconds)
            transcript = _last_words(sandbox.runtime, instance, code)
        finally:
            sandbox.runtime.kill(instance)
            sandbox.runtime.remove(instance)
        return CodingResult(
            _outcome(before, tree_digest(worktree), code), code, 0, 0, instance.name, transcript
        )

    def _spec(
        self, task: CodingTask, worktree: Path, folder: Path, sandbox: CodingSandbox, budget: CodingBudget
    ) -> InstanceSpec:
        values = {"{task}": f"{TASK_FOLDER}/TASK.md", "{repo}": REPO, "{seed}": str(task.seed)}
        gateway: tuple[Mount, ...] = ()
        if sandbox.gateway_folder is not None:
            gateway = (Mount(sandbox.gateway_folder, "/run/gateway"),)
        return InstanceSpec(
            name=f"coder-{new_id().lower()}",
            role="coder",
            argv=tuple(_fill(word, values) for word in self.argv),
            env={"PATH": PATH, "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", **self.env},
            mounts=(
                Mount(worktree, REPO, writable=True),
                Mount(folder, TASK_FOLDER),
                Mount(sandbox.check_folder, "/run/check"),
                Mount(_check_program(sandbox.scratch), "/opt/evolve/bin/evolve-check"),
                *gateway,
                *sandbox.mounts,
                *self.mounts,
            ),
            labels={**sandbox.labels, "coder": self.name},
            limits=Limits(
                processes=self.limits.processes,
                memory_bytes=self.limits.memory_bytes,
                open_files=self.limits.open_files,
                wall_seconds=budget.seconds + 5,
            ),
            workdir=REPO,
            host_tools=True,
        )


def _fill(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _write_task(task: CodingTask, scratch: Path) -> Path:
    folder = scratch / "task"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "TASK.md").write_text(task.text, encoding="utf-8")
    for name, content in task.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def _check_program(scratch: Path) -> Path:
    """`evolve-check` with this interpreter's own path, which the sandbox shows at the same place."""
    program = scratch / "evolve-check"
    interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    source = CHECK_CLIENT.read_text(encoding="utf-8")
    program.write_text(f"#!{interpreter} -IS\n{source}", encoding="utf-8")
    program.chmod(0o755)
    return program


def _last_words(runtime: Runtime, instance: Instance, code: int | None) -> str:
    if code is None:
        runtime.stop(instance, grace=2.0)
    return runtime.logs(instance)


def _outcome(before: str, after: str, code: int | None) -> CodingOutcome:
    if before != after:
        return "edited"
    if code is None:
        return "timed_out"
    return "no_change" if code in (0, 1) else "failed"


def tree_digest(tree: Path) -> str:
    """Hash of names and bytes of a worktree, `.git` left out: whether a coder changed anything."""
    total = hashlib.sha256()
    for folder, names, files in os.walk(tree):
        names[:] = sorted(name for name in names if name not in (".git", "__pycache__"))
        for name in sorted(files):
            path = Path(folder) / name
            total.update(os.fsencode(str(path.relative_to(tree))) + b"\0")
            if path.is_file() and not path.is_symlink():
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
