"""What an operator writes under `[[graders]]`. Every field has its sentence; unknown keys are errors."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue

from trial.report import Frozen

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise ValueError("must be a file below the folder of evolve.toml")
    return name


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return pattern


def _json_path(path: str) -> str:
    import jsonpath  # 0.1 s that only who uses a path should pay

    try:
        jsonpath.compile(path)
    except jsonpath.JSONPathError as error:
        raise ValueError(f"no JSON path: {str(error).splitlines()[0]}") from None
    return path


def _select(how: str) -> str:
    return how if how in ("text", "reply", "status") else _json_path(how)


Regex = Annotated[str, AfterValidator(_regex)]
JsonPath = Annotated[str, Field(pattern=r"^\$"), AfterValidator(_json_path)]
RelativeFile = Annotated[str, AfterValidator(_inside)]
Select = Annotated[str, Field(pattern=r"^(text|reply|status|\$.*)$"), AfterValidator(_select)]


class Applies(Frozen):
    """Which requests a grader judges; both conditions must hold, and none means all."""

    path: JsonPath | None = None
    """A JSON path on `{"path": ..., "body": ...}` that has to select something."""
    regex: Regex | None = None
    """A regular expression that has to be found in the last user message (or else in the body as JSON)."""


class _Common(Frozen):
    name: Name
    applies: Applies = Applies()
    pass_at: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The score at which a case passes."""


class _Selecting(_Common):
    select: Select = "text"
    """What is judged: the answer's `text`, the whole `reply` as JSON, the HTTP `status`, or a JSON path on
    the reply."""


class ExactConfig(_Selecting):
    """The selected value equals one that is known, or one that stands in the request."""

    kind: Literal["exact"]
    expected: JsonValue = None
    expected_path: JsonPath | None = None
    """A JSON path on `{"path": ..., "body": ...}`: its first value is what is expected, in place of
    `expected`."""
    ignore_case: bool = False
    strip: bool = True
    """Ignore white space around text."""


class RegexConfig(_Selecting):
    """A pattern is found in the selected text, or is not."""

    kind: Literal["regex"]
    pattern: Regex
    full: bool = False
    """The pattern has to match all of the text."""
    absent: bool = False
    """Pass when the pattern is *not* found."""


class JsonSchemaConfig(_Selecting):
    """The selected value, parsed as JSON where it is text, is valid under a JSON Schema."""

    kind: Literal["json_schema"]
    json_schema: Annotated[dict[str, JsonValue] | None, Field(alias="schema")] = None
    schema_file: RelativeFile | None = None
    """A file beside `evolve.toml`, in place of `schema`."""


class JsonPathConfig(_Selecting):
    """A JSON path on the selected value selects something, or exactly what is said."""

    kind: Literal["json_path"]
    path: JsonPath
    equals: JsonValue = None
    """At least one selected value equals this; without it, any value will do."""
    count: Annotated[int, Field(ge=0)] | None = None
    """Exactly so many values are selected."""


class ToolPattern(Frozen):
    """Tool calls of one kind, as the gateway saw them."""

    tool: str
    """A glob on `server/tool`."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Dotted argument name to the value that it must have."""
    matches: dict[str, Regex] = Field(default_factory=dict)
    """Dotted argument name to a regular expression that must be found in its value."""
    from_request: dict[str, JsonPath] = Field(default_factory=dict)
    """Dotted argument name to a JSON path on the request whose first value it must equal."""


class ToolTraceConfig(_Common):
    """Required tool calls were made, forbidden ones were not. What the agent says about its calls is
    ignored."""

    kind: Literal["tool_trace"]
    required: tuple[ToolPattern, ...] = ()
    """Each needs a call of its own."""
    forbidden: tuple[ToolPattern, ...] = ()
    ordered: bool = False
    """The required calls began in this order."""
    only: bool = False
    """No tool call but the required ones."""


class PythonConfig(_Common):
    """A Python function in a sandbox, standard library only:
    `def grade(case: dict, replay: dict) -> bool | float | dict`."""

    kind: Literal["python"]
    file: RelativeFile
    function: str = "grade"
    files: tuple[RelativeFile, ...] = ()
    """Further files that it imports or reads, beside it."""
    timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds; a grader that takes longer is broken."""


class RuleConfig(_Common):
    """An operator's rule over one turn, in a sandbox: `def rule(turn: dict) -> str | None`; None passes."""

    kind: Literal["rule"]
    file: RelativeFile
    function: str = "rule"
    files: tuple[RelativeFile, ...] = ()
    """Further files that it imports or reads, beside it."""
    timeout: Annotated[float, Field(gt=0, le=600)] = 10.0


class ShellConfig(_Common):
    """A command in a sandbox: exit code 0 passes, 1 fails, anything else is a broken grader."""

    kind: Literal["shell"]
    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    """Runs in the folder that holds `files`; $CASE, $REPLAY and $FILES name what it judges."""
    files: tuple[RelativeFile, ...] = ()
    """What it executes or reads, beside `evolve.toml`."""
    timeout: Annotated[float, Field(gt=0, le=600)] = 30.0


GraderConfig = Annotated[
    ExactConfig
    | RegexConfig
    | JsonSchemaConfig
    | JsonPathConfig
    | ToolTraceConfig
    | PythonConfig
    | RuleConfig
    | ShellConfig,
    Field(discriminator="kind"),
]
