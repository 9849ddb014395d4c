"""Typed tool workflows as plain data: steps, and references between them. `codec` reads and writes them as JSON.

A workflow is data, never code. What a step takes are literals (`{"value": …}`) or references (`{"ref":
"node.field.0"}`) to the request's inputs (`inputs.name`), to an earlier step's result, or, within a map, to the `item`.
The order of steps in a file means nothing: references, `after` and `when` decide when a step runs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated
from typing import Literal as Choice

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, with_config

INPUTS = "inputs"
ITEM = "item"
RESERVED = frozenset({INPUTS, ITEM})
NAME = r"[a-z][a-z0-9_-]{0,62}"
TEMPLATE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|([{}])")


NAME_PATTERN = f"^{NAME}$"
ID_PATTERN = f"^(?!(?:{INPUTS}|{ITEM})$){NAME}$"
TOOL_PATTERN = r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_./-]+$"
REF_PATTERN = rf"^{NAME}(\..+)?$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
StepId = Annotated[str, Field(pattern=re.compile(ID_PATTERN))]
ToolKey = Annotated[str, StringConstraints(pattern=TOOL_PATTERN)]
"""`server/tool`"""
SchemaTable = Mapping[str, object]
"""A JSON Schema."""
strict = with_config(ConfigDict(extra="forbid", strict=True))


@strict
@dataclass(frozen=True, slots=True)
class Ref:
    ref: Annotated[str, StringConstraints(pattern=REF_PATTERN)]
    """`source.path`: a step's id, `inputs` or `item`, and the way into its value; numbers lead into lists."""

    @property
    def source(self) -> str:
        return self.ref.partition(".")[0]

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.ref.split(".")[1:])


@strict
@dataclass(frozen=True, slots=True)
class Literal:
    value: object


def _which_argument(value: object) -> str:
    held = isinstance(value, Ref) or (isinstance(value, Mapping) and "ref" in value)
    return "ref" if held else "value"


Argument = Annotated[
    Annotated[Ref, Tag("ref")] | Annotated[Literal, Tag("value")], Discriminator(_which_argument)
]
Arguments = Mapping[str, Argument]
Order = Choice["lt", "le", "gt", "ge"]
Comparison = Choice["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "starts_with"]


@strict
@dataclass(frozen=True, slots=True)
class Compare:
    """Never an error: what can't be compared does not hold."""

    left: Argument
    op: Comparison
    right: Argument


@strict
@dataclass(frozen=True, slots=True)
class Exists:
    """The reference leads somewhere, and not to null."""

    exists: Ref


@strict
@dataclass(frozen=True, slots=True)
class Combine:
    op: Choice["all", "any", "none"]
    of: tuple["Predicate", ...]


def _which_predicate(value: object) -> str:
    table = value if isinstance(value, Mapping) else {}
    return "exists" if "exists" in table else "of" if "of" in table else "compare"


Predicate = Annotated[
    Annotated[Compare, Tag("compare")] | Annotated[Exists, Tag("exists")] | Annotated[Combine, Tag("of")],
    Discriminator(_which_predicate),
]


@strict
@dataclass(frozen=True, slots=True)
class Call:
    tool: ToolKey
    arguments: Arguments = field(default_factory=dict)


@strict
@dataclass(frozen=True, slots=True)
class Ask:
    """A question to a model; `answer` is the JSON Schema of its answer, which without one is text."""

    prompt: str
    """With `{name}` for each of `values`."""
    values: Arguments = field(default_factory=dict)
    answer: SchemaTable | None = None
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] = 512


@strict
@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about a failure, in this order: try again, recover, fall back."""

    retries: Annotated[int, Field(ge=0, le=10)] = 0
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Of one attempt."""
    recovery: Call | None = None
    """Another call whose result takes the place of the one that failed."""
    fallback: Argument | None = None


NO_POLICY = Policy()
Effect = Choice["read", "write", "irreversible"]
EFFECTS: tuple[Effect, ...] = ("read", "write", "irreversible")


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    id: StepId
    after: tuple[Name, ...] = ()
    """Steps that have to be done before, whose results are not needed."""
    when: str | None = None
    """`branch.arm`: runs only if that branch took that arm."""
    requires: tuple[Predicate, ...] = ()
    """Checked before the step; one that does not hold fails it."""
    ensures: tuple[Predicate, ...] = ()
    """Checked on the result, which the predicates know by the step's id."""
    policy: Policy = NO_POLICY


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolNode(Step):
    kind: Choice["tool"] = "tool"
    tool: ToolKey
    arguments: Arguments = field(default_factory=dict)
    effect: Effect | None = None
    """What its author declares; the check refuses less than the tool's own."""


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNode(Step):
    kind: Choice["model"] = "model"
    prompt: str
    values: Arguments = field(default_factory=dict)
    answer: SchemaTable | None = None
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] = 512


@strict
@dataclass(frozen=True, slots=True)
class Arm:
    name: Name
    when: Predicate


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class BranchNode(Step):
    """Takes the first arm that holds, else `otherwise`; without one it fails. Its value is the arm's name."""

    kind: Choice["branch"] = "branch"
    arms: tuple[Arm, ...]
    otherwise: Name | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (*(arm.name for arm in self.arms), *([self.otherwise] if self.otherwise else []))


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class MapNode(Step):
    """One call or question for each item of a list, at once; its value is the list of results. A longer list than
    `limit` fails it."""

    kind: Choice["map"] = "map"
    over: Argument
    each: Annotated[
        Annotated[Call, Tag("call")] | Annotated[Ask, Tag("ask")],
        Discriminator(
            lambda v: "call" if isinstance(v, Call) or (isinstance(v, Mapping) and "tool" in v) else "ask"
        ),
    ]
    limit: Annotated[int, Field(ge=1)] | None = None


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeNode(Step):
    """`first`: the first of its sources that is done. `list`: all that are done, in this order; a branch may have left
    some out."""

    kind: Choice["merge"] = "merge"
    sources: tuple[Ref, ...]
    mode: Choice["first", "list"] = "first"


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorNode(Step):
    """Hands its value on if it meets the schema, else fails."""

    kind: Choice["validator"] = "validator"
    value: Argument
    schema: SchemaTable


@strict
@dataclass(frozen=True, slots=True, kw_only=True)
class OutputNode(Step):
    kind: Choice["output"] = "output"
    text: str
    """The answer, with `{name}` for each of `values`."""
    values: Arguments = field(default_factory=dict)


Node = Annotated[
    ToolNode | ModelNode | BranchNode | MapNode | MergeNode | ValidatorNode | OutputNode,
    Field(discriminator="kind"),
]


@strict
@dataclass(frozen=True, slots=True)
class Workflow:
    name: Name
    description: str
    nodes: tuple[Node, ...]
    inputs: Mapping[Name, SchemaTable] = field(default_factory=dict)
    """Name -> JSON Schema of a request input."""
    trigger: str | None = None
    """A regular expression over the user's text whose named groups are the inputs."""
    capabilities: tuple[ToolKey, ...] | None = None
    """The tools that it may call, whatever becomes of its steps; None: not limited."""

    def node(self, node_id: str) -> Node | None:
        return next((node for node in self.nodes if node.id == node_id), None)

    @property
    def tools(self) -> frozenset[str]:
        """Every tool that some course of the workflow may call."""
        return frozenset(call.tool for node in self.nodes for _, call in calls(node))


def calls(node: Node) -> Iterator[tuple[str, Call]]:
    """Each tool call that the step may make, with its place in the step."""
    if isinstance(node, ToolNode):
        yield "", Call(node.tool, node.arguments)
    elif isinstance(node, MapNode) and isinstance(node.each, Call):
        yield "each", node.each
    if node.policy.recovery is not None:
        yield "policy.recovery", node.policy.recovery


def taken(node: Node) -> Iterator[tuple[str, Argument]]:
    """What the step takes, each with its place in the step, in an order that does not depend on how it was written."""
    match node:
        case ToolNode():
            yield from _named("arguments", node.arguments)
        case ModelNode() | OutputNode():
            yield from _named("values", node.values)
        case BranchNode():
            for arm in node.arms:
                yield from _compared(f"arms.{arm.name}", arm.when)
        case MapNode():
            yield "over", node.over
            if isinstance(node.each, Call):
                yield from _named("each.arguments", node.each.arguments)
            else:
                yield from _named("each.values", node.each.values)
        case MergeNode():
            yield from ((f"sources.{index}", ref) for index, ref in enumerate(node.sources))
        case ValidatorNode():
            yield "value", node.value
    for index, predicate in enumerate(node.requires):
        yield from _compared(f"requires.{index}", predicate)
    for index, predicate in enumerate(node.ensures):
        yield from _compared(f"ensures.{index}", predicate)
    if node.policy.recovery is not None:
        yield from _named("policy.recovery.arguments", node.policy.recovery.arguments)
    if node.policy.fallback is not None:
        yield "policy.fallback", node.policy.fallback


def dependencies(node: Node) -> frozenset[str]:
    """Ids of the steps that have to be over before this one starts."""
    sources = {argument.source for _, argument in taken(node) if isinstance(argument, Ref)}
    own = {node.id} if node.ensures else set()
    more = {*node.after, *([node.when.partition(".")[0]] if node.when else [])}
    return frozenset((sources - RESERVED - own) | more)


def template_names(text: str) -> tuple[list[str], bool]:
    """The names in a template, and whether all its braces are names, `{{` or `}}`."""
    found = [match.groups() for match in TEMPLATE.finditer(text)]
    return [name for name, _ in found if name], not any(stray for _, stray in found)


def _named(place: str, arguments: Arguments) -> Iterator[tuple[str, Argument]]:
    for name in sorted(arguments):
        yield f"{place}.{name}", arguments[name]


def _compared(place: str, predicate: Predicate) -> Iterator[tuple[str, Argument]]:
    match predicate:
        case Compare(left, _, right):
            yield f"{place}.left", left
            yield f"{place}.right", right
        case Exists(ref):
            yield f"{place}.exists", ref
        case Combine(_, parts):
            for index, part in enumerate(parts):
                yield from _compared(f"{place}.of.{index}", part)
