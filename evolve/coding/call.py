"""One call of any coder: a sandbox around a command line, its door to a model, and a verdict by the tree it leaves."""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from containers.orders import LOG_BYTES
from containers.runtime import Instance, InstanceSpec, Limits, Mount
from evidence.canonical import new_id
from evolve.coding.answers import Answers, Trouble
from evolve.coding.clis.adapter import HOME, Said
from evolve.coding.door import Door, open_door
from evolve.coding.protocol import CodingBudget, CodingOutcome, CodingResult, CodingSandbox, CodingTask
from trial.gateway import Upstream

LIMITS = Limits(processes=512, memory_bytes=None, open_files=4096, file_bytes=64 << 20)
REPO = "/work/repo"
TASK_FOLDER = "/work/task"
TASK_FILE = f"{TASK_FOLDER}/TASK.md"
PORT = 8080
BASE = f"http://127.0.0.1:{PORT}"
CHECK_CLIENT = Path(__file__).with_name("evolve_check.py")
PATH = ("/usr/local/bin", "/usr/bin", "/bin")
MAX_TRANSCRIPT = 256 << 10
POLL_SECONDS = 0.25
GRACE_SECONDS = 2.0
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Command:
    """What runs inside. `files` are what its home begins with."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    path: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    limits: Limits = LIMITS


@dataclass(frozen=True)
class Model:
    """Where its model is, and for how many seconds it may get nothing but errors from there."""

    upstream: Upstream
    patience: float


@dataclass(frozen=True)
class Ended:
    """How a call ended, before anybody looks at the tree. `stopped`: we ended it, and why."""

    exit_code: int | None
    stopped: Trouble | None
    answers: Trouble | None
    """What was wrong with the last answer of its model."""


def run(
    name: str,
    command: Command,
    task: CodingTask,
    worktree: Path,
    *,
    sandbox: CodingSandbox,
    budget: CodingBudget,
    read: Callable[[str], Said],
    model: Model | None = None,
) -> CodingResult:
    """Let a command edit `worktree`. Raises RuntimeBroken."""
    folder = _write_task(task, sandbox.scratch)
    home = make_home(command.files, sandbox.scratch)
    before, known = tree_digest(worktree), set(os.listdir(worktree))
    with ExitStack() as stack:
        door = None
        if model is not None:
            place = sandbox.scratch / "gateway"
            door = stack.enter_context(open_door(model.upstream, sandbox.audit, place, budget))
        spec = _spec(name, command, (worktree, folder, home), sandbox, budget, door)
        instance = sandbox.runtime.start(None, spec)
        try:
            ended = _wait(instance, budget.seconds, door, model, sandbox.tick)
            if ended.exit_code is None:
                sandbox.runtime.stop(instance, GRACE_SECONDS)
            output = sandbox.runtime.logs(instance, LOG_BYTES)
        finally:
            sandbox.runtime.kill(instance)
            sandbox.runtime.remove(instance)
    said = read(output)
    remove_leftovers(worktree, command.leftovers, known)
    outcome, reason = judge(before != tree_digest(worktree), ended, said)
    return CodingResult(
        outcome,
        ended.exit_code,
        tokens=door.spent.tokens if door else 0,
        usd_micros=door.spent.micro_usd if door else 0,
        session=session_of(said),
        transcript=output[-MAX_TRANSCRIPT:],
        text=said.text,
        reason=reason,
    )


def judge(edited: bool, ended: Ended, said: Said) -> tuple[CodingOutcome, str]:
    """The tree first, then what we did and what the model answered, last what the coder says of itself."""
    if edited:
        return "edited", ended.stopped.reason if ended.stopped else ""
    if ended.stopped is not None and ended.stopped.outcome != "timed_out":
        return ended.stopped.outcome, ended.stopped.reason
    if ended.answers is not None:
        return ended.answers.outcome, ended.answers.reason
    if ended.stopped is not None:
        return "timed_out", ended.stopped.reason
    if said.hint is not None:
        return said.hint, ""
    if ended.exit_code not in (0, 1):
        return "failed", f"it ended with {ended.exit_code}"
    if said.text.rstrip().endswith("?"):
        return "asked", "it asked a question; nobody is there to answer"
    return "no_change", ""


def session_of(said: Said) -> str:
    """The session that can be resumed; its name comes from inside and goes on a command line, so most are none."""
    return said.session if _SESSION.fullmatch(said.session) else ""


def _wait(
    instance: Instance, seconds: float, door: Door | None, model: Model | None, tick: Callable[[], None]
) -> Ended:
    answers = Answers(door.calls) if door else None
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        code = instance.wait(min(POLL_SECONDS, max(0.01, left)))
        tick()
        if answers is not None and model is not None and door is not None:
            answers.look()
            stopped = _why_stop(door, answers, model.patience)
        else:
            stopped = None
        if code is not None:
            return Ended(code, stopped, answers.last if answers else None)
        if stopped is None and left <= 0:
            stopped = Trouble("timed_out", f"it was not done after {seconds:.0f} s")
        if stopped is not None:
            return Ended(None, stopped, answers.last if answers else None)


def _why_stop(door: Door, answers: Answers, patience: float) -> Trouble | None:
    if refused := door.refused:
        return Trouble("out_of_budget", refused)
    return answers.hopeless(patience)


def _spec(
    name: str,
    command: Command,
    folders: tuple[Path, Path, Path],
    sandbox: CodingSandbox,
    budget: CodingBudget,
    door: Door | None,
) -> InstanceSpec:
    worktree, task, home = folders
    gateway = (Mount(door.folder, "/run/gateway"),) if door else ()
    path = ":".join(("/opt/evolve/bin", *command.path, *PATH))
    return InstanceSpec(
        name=f"coder-{new_id().lower()}",
        role="coder",
        argv=command.argv,
        env={"PATH": path, "HOME": HOME, "TMPDIR": "/tmp", "LANG": "C.UTF-8", **command.env},
        mounts=(
            Mount(worktree, REPO, writable=True),
            Mount(home, HOME, writable=True),
            Mount(task, TASK_FOLDER),
            Mount(sandbox.check_folder, "/run/check"),
            Mount(_check_program(sandbox.scratch), "/opt/evolve/bin/evolve-check"),
            *gateway,
            *sandbox.mounts,
            *command.mounts,
        ),
        labels={**sandbox.labels, "coder": name},
        limits=replace(command.limits, wall_seconds=budget.seconds + 5),
        workdir=REPO,
        host_tools=True,
        forwards={PORT: "/run/gateway/gateway.sock"} if door else {},
    )


def _write_task(task: CodingTask, scratch: Path) -> Path:
    folder = scratch / "task"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "TASK.md").write_text(task.text, encoding="utf-8")
    for name, content in task.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def make_home(files: Mapping[str, str], scratch: Path) -> Path:
    """Kept from call to call of one scratch folder, for the sessions in it. Written to only before the first: after that
    it may hold links that lead anywhere."""
    home = scratch / "home"
    if home.exists():
        return home
    home.mkdir(parents=True)
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return home


def _check_program(scratch: Path) -> Path:
    """`evolve-check` with this interpreter's own path, which the sandbox shows at the same place."""
    program = scratch / "evolve-check"
    interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    source = CHECK_CLIENT.read_text(encoding="utf-8")
    program.write_text(f"#!{interpreter} -IS\n{source}", encoding="utf-8")
    program.chmod(0o755)
    return program


def remove_leftovers(worktree: Path, globs: Iterable[str], known: set[str]) -> None:
    """What the coder's own program left at the top, unless the repository had it before. Follows no link."""
    for pattern in globs:
        for path in list(worktree.glob(pattern)):
            if path.name in known or path.parent != worktree:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def tree_digest(tree: Path) -> str:
    """Hash of names and bytes of a worktree, `.git` left out: whether a coder changed anything."""
    total = hashlib.sha256()
    for folder, names, files in os.walk(tree):
        names[:] = sorted(name for name in names if name not in (".git", "__pycache__"))
        for name in sorted(files):
            path = Path(folder) / name
            total.update(os.fsencode(str(path.relative_to(tree))) + b"\0")
            with suppress(OSError):  # a path that is too long to open tells by its name
                if path.is_file() and not path.is_symlink():
                    with path.open("rb") as stream:
                        total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
