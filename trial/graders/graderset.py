"""All graders of an operator, loaded once: which apply to a case, their digest, a replay's grades."""

import json
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from containers.engine import get_runtime
from containers.host import staging_folder
from containers.images import discard
from containers.runtime import Runtime
from evidence.canonical import digest
from evidence.cases import CaseContent, GraderRef
from trial.gateway.right_answer import RightAnswer
from trial.graders.answered import NAME as ANSWERED
from trial.graders.answered import AnsweredGrader
from trial.graders.base import Grader, GraderBroken, GraderError
from trial.graders.config import (
    Applies,
    ExactConfig,
    GraderConfig,
    JsonPathConfig,
    JsonSchemaConfig,
    PythonConfig,
    RegexConfig,
    RuleConfig,
    ShellConfig,
    ToolTraceConfig,
)
from trial.graders.exact import ExactGrader
from trial.graders.json_path import JsonPathGrader
from trial.graders.json_schema import JsonSchemaGrader
from trial.graders.matcher import Matcher
from trial.graders.python import PythonGrader
from trial.graders.reading import last_user_text, request_view, truncated
from trial.graders.regex import RegexGrader
from trial.graders.right_answer import right_answer
from trial.graders.sandbox import GraderSandbox
from trial.graders.shell import ShellGrader
from trial.graders.tool_trace import ToolTraceGrader
from trial.honeypot import HoneypotCase, grade_honeypot
from trial.replay import Replay
from trial.report import Grade

MAX_FILE = 4 << 20


@dataclass(frozen=True)
class _Loaded:
    config: GraderConfig
    grader: Grader


class GraderSet:
    """Thread-safe. `close` ends its sandbox and its matcher; both start only when they are needed."""

    def __init__(self, config: Sequence[GraderConfig], root: Path, runtime: Runtime | None) -> None:
        self._root, self._runtime = root, runtime
        self._matcher = Matcher()
        self._lock = threading.Lock()
        self._sandbox: GraderSandbox | None = None
        self._folder: Path | None = None
        self._code: dict[str, dict[str, bytes]] = {}
        names = [one.name for one in config]
        if twins := sorted({name for name in names if names.count(name) > 1}):
            raise GraderError(f"graders: the name {twins[0]!r} is used twice")
        if ANSWERED in names:
            raise GraderError(f"graders: {ANSWERED!r} is the name of a built-in grader: choose another")
        self._graders = {one.name: _Loaded(one, self._load(one)) for one in config}
        self._answered = AnsweredGrader()

    @property
    def digest(self) -> str:
        """Over every grader's configuration and file bytes; the order in `evolve.toml` does not matter."""
        return digest(sorted([name, loaded.grader.digest] for name, loaded in self._graders.items()))

    def current_digest(self) -> str:
        """The digest of the files as they are now on disk. Raises GraderError when one is gone."""
        with GraderSet(
            [loaded.config for loaded in self._graders.values()], self._root, self._runtime
        ) as now:
            return now.digest

    def refs_for(self, case: CaseContent) -> tuple[GraderRef, ...]:
        """The graders that apply to the case's request; `answered` joins unless one of them judges the
        status."""
        chosen = [loaded for loaded in self._graders.values() if self._applies(loaded.config.applies, case)]
        refs = [GraderRef(name=loaded.config.name, digest=loaded.grader.digest) for loaded in chosen]
        if not any(getattr(loaded.config, "select", "") == "status" for loaded in chosen):
            refs.append(GraderRef(name=ANSWERED, digest=self._answered.digest))
        return tuple(refs)

    def grade(self, case: CaseContent, replay: Replay) -> tuple[Grade, ...]:
        """Every grader's answer. A cut answer fails them all. Raises GraderBroken, which makes a trial
        `invalid`."""
        if isinstance(case, HoneypotCase):
            return (grade_honeypot(case, _texts(replay)),)
        graders = [self._named(ref) for ref in case.graders or self.refs_for(case)]
        if cut := truncated(replay.turn):
            return tuple(
                Grade(grader=name, score=0.0, passed=False, reason=f"truncated: {cut}"[:500])
                for name, _ in graders
            )
        return tuple(grader.grade(case, replay) for _, grader in graders)

    def right_answer(self, case: CaseContent) -> RightAnswer:
        """What its graders know to be right. Raises NoRightAnswer, and GraderBroken as `grade` does."""
        refs = case.graders or self.refs_for(case)
        named = [self._named(ref)[0] for ref in refs]
        configs = [self._graders[name].config for name in named if name != ANSWERED]
        return right_answer(configs, case, self._matcher)

    def fits(self, schema: object, value: object) -> bool:
        """Is the value valid under a JSON Schema of a stranger's? Raises GraderBroken when that can't be told."""
        return self._matcher.schema(schema, value) is None

    def close(self) -> None:
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.close()
            if self._folder is not None:
                discard(self._folder)
            self._sandbox = self._folder = None
        self._matcher.close()

    def __enter__(self) -> "GraderSet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _named(self, ref: GraderRef) -> tuple[str, Grader]:
        if ref.name == ANSWERED:
            return ANSWERED, self._answered
        loaded = self._graders.get(ref.name)
        if loaded is None:
            raise GraderBroken(f"the grader {ref.name!r} is gone since the case was made")
        if loaded.grader.digest != ref.digest:
            raise GraderBroken(f"the grader {ref.name!r} was changed since the case was made")
        return ref.name, loaded.grader

    def _applies(self, applies: Applies, case: CaseContent) -> bool:
        if applies.path is not None and not self._matcher.path(applies.path, request_view(case.turn)):
            return False
        return applies.regex is None or self._matcher.regex(applies.regex, last_user_text(case.turn))

    def _load(self, config: GraderConfig) -> Grader:
        files = {name: self._read(config.name, name) for name in _files_of(config)}
        ident = digest(
            {
                "config": config.model_dump(mode="json", by_alias=True),
                "files": {name: digest(data) for name, data in files.items()},
            }
        )
        match config:
            case ExactConfig():
                return ExactGrader(config, ident, self._matcher)
            case RegexConfig():
                return RegexGrader(config, ident, self._matcher)
            case JsonPathConfig():
                return JsonPathGrader(config, ident, self._matcher)
            case JsonSchemaConfig():
                return JsonSchemaGrader(config, ident, self._matcher, _schema(config, files))
            case ToolTraceConfig():
                return ToolTraceGrader(config, ident, self._matcher)
            case PythonConfig() | RuleConfig():
                return PythonGrader(config, ident, self._keep(ident, files), self._open_sandbox)
            case ShellConfig():
                return ShellGrader(config, ident, self._keep(ident, files), self._open_sandbox)

    def _read(self, grader: str, name: str) -> bytes:
        path = self._root / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise GraderError(f"grader {grader}: {path}: {error.strerror}") from None
        if len(data) > MAX_FILE:
            raise GraderError(f"grader {grader}: {path} is larger than {MAX_FILE >> 20} MiB")
        return data

    def _keep(self, ident: str, files: dict[str, bytes]) -> str:
        """The bytes that were hashed are the bytes that will run, whatever happens to the files meanwhile."""
        folder = ident.removeprefix("sha256:")[:16]
        self._code[folder] = files
        return folder

    def _open_sandbox(self) -> GraderSandbox:
        with self._lock:
            if self._sandbox is None:
                runtime = self._runtime or get_runtime("auto", self._root)
                self._folder = staging_folder(runtime.home / "run")
                self._sandbox = GraderSandbox(runtime, self._folder)
                for folder, files in self._code.items():
                    _write_files(self._sandbox.code / folder, files)
            return self._sandbox


def load_graders(config: Sequence[GraderConfig], root: Path, runtime: Runtime | None = None) -> GraderSet:
    """Read every grader's files beside `evolve.toml` (in `root`) and hash them. Raises GraderError.

    `runtime`: where python, rule and shell graders run; without it the engine that suits the machine.
    """
    return GraderSet(config, root, runtime)


def _files_of(config: GraderConfig) -> tuple[str, ...]:
    match config:
        case PythonConfig() | RuleConfig():
            return (config.file, *config.files)
        case ShellConfig():
            return config.files
        case JsonSchemaConfig() if config.schema_file is not None:
            return (config.schema_file,)
        case _:
            return ()


def _schema(config: JsonSchemaConfig, files: dict[str, bytes]) -> object:
    if (config.json_schema is None) == (config.schema_file is None):
        raise GraderError(f"grader {config.name}: give either `schema` or `schema_file`")
    if config.schema_file is None:
        return config.json_schema
    try:
        return json.loads(files[config.schema_file])
    except ValueError as error:
        raise GraderError(f"grader {config.name}: {config.schema_file}: not JSON: {error}") from None


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755)  # a command may be one of them; nothing here is writable from inside
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        inner.chmod(0o755)


def _texts(replay: Replay) -> list[str]:
    """Everything that a candidate said, for the honeypot's nonce."""
    said = [(turn.reply, dict(turn.headers)) for turn in replay.turns]
    return [json.dumps(part, default=str) for part in [*said, list(replay.events)]]
