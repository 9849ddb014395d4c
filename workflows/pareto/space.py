"""What of a workflow can be configured: alternatives of its steps, and what models and tools cost."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from workflows.edits import EditError, SwapTool, apply
from workflows.graph import (
    Ask,
    Call,
    Literal,
    MapNode,
    ModelNode,
    Name,
    StepId,
    ToolKey,
    ToolNode,
    Workflow,
    strict,
)

OWN = "own"
"""The alternative that every step has: as the workflow has it."""
Money = Annotated[int, Field(ge=0)]
Calling = ToolNode | ModelNode | MapNode
Asking = TypeVar("Asking", ModelNode, Ask)
CallsTool = TypeVar("CallsTool", ToolNode, Call)


class ConfigurationsError(ValueError):
    """The JSON says no configurations of this workflow; the message names the first place."""


@strict
@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way to do a step, or what a map does for each item. What is not given is as the workflow has it."""

    model: str | None = None
    prompt: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    tool: ToolKey | None = None
    rename: Mapping[str, str | None] = field(default_factory=dict)
    """Argument -> what it is called in `tool`; null: it is left out. What is not named keeps its name."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    """Literals that `tool` takes besides, or instead."""
    retries: Annotated[int, Field(ge=0, le=10)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None


@strict
@dataclass(frozen=True, slots=True)
class Price:
    """In micro-USD for 1,000 tokens."""

    input: Money
    output: Money


@strict
@dataclass(frozen=True, slots=True)
class Prices:
    models: Mapping[str, Price] = field(default_factory=dict)
    """0 where a model costs nothing; a model without a price is not asked."""
    tools: Mapping[ToolKey, Money] = field(default_factory=dict)
    """In micro-USD for a call; what is not named costs nothing."""


@strict
@dataclass(frozen=True, slots=True)
class Configurations:
    steps: Mapping[StepId, Mapping[Name, Alternative]]
    prices: Prices = field(default_factory=Prices)


Choice = tuple[str, ...]
"""The name of an alternative for each of a space's steps, in their order."""


@dataclass(frozen=True)
class Space:
    """All choices of one alternative for each step that has some."""

    workflow: Workflow
    configurations: Configurations

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(sorted(self.configurations.steps))

    def names(self, step: str) -> tuple[str, ...]:
        return (OWN, *sorted(self.configurations.steps[step]))

    @property
    def own(self) -> Choice:
        return (OWN,) * len(self.steps)

    def one_changes(self, choice: Choice) -> Iterator[tuple[str, Choice]]:
        """All that differ from it in one step, with that step."""
        for index, step in enumerate(self.steps):
            for name in self.names(step):
                if name != choice[index]:
                    yield step, (*choice[:index], name, *choice[index + 1 :])

    def singles(self) -> Iterator[Choice]:
        """The workflow as it is, and with each alternative by itself."""
        yield self.own
        yield from (choice for _, choice in self.one_changes(self.own))

    @property
    def size(self) -> int:
        return math.prod(len(self.names(step)) for step in self.steps)

    def configuration(self, choice: Choice) -> dict[str, str]:
        """Without the steps that are as the workflow has them."""
        return {step: name for step, name in zip(self.steps, choice, strict=True) if name != OWN}

    def configured(self, choice: Choice) -> Workflow:
        """The workflow with these alternatives. Raises ConfigurationsError."""
        chosen = self.configuration(choice)
        workflow = self.workflow
        for step, name in chosen.items():
            try:
                workflow = _with(workflow, step, self.configurations.steps[step][name])
            except (ConfigurationsError, EditError) as error:
                raise ConfigurationsError(f"steps.{step}.{name}: {error}") from None
        return workflow

    def models(self, default: str | None) -> frozenset[str | None]:
        """Every model that some choice asks."""
        nodes = [node for choice in self.singles() for node in self.configured(choice).nodes]
        asks = [node.each if isinstance(node, MapNode) else node for node in nodes]
        return frozenset(ask.model or default for ask in asks if isinstance(ask, ModelNode | Ask))


def read_configurations(data: object) -> Configurations:
    """Raises ConfigurationsError."""
    try:
        found = _adapter().validate_json(json.dumps(data, allow_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationsError(
            f"{'.'.join(map(str, first['loc'])) or 'configurations'}: {first['msg']}"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigurationsError(f"not JSON: {error}") from None
    for step, named in found.steps.items():
        if OWN in named:
            raise ConfigurationsError(
                f"steps.{step}: {OWN!r} is what a step is called as the workflow has it"
            )
    return found


def configurations_schema() -> dict[str, Any]:
    """The published schema of a file of configurations."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "configurations.schema.json",
        "title": "configurations",
        "description": "Named alternatives of a workflow's steps, and prices in micro-USD.",
    }
    return {**_adapter().json_schema(), **head}


def _with(workflow: Workflow, step: str, given: Alternative) -> Workflow:
    node = workflow.node(step)
    if not isinstance(node, ToolNode | ModelNode | MapNode):
        raise ConfigurationsError("there is no such step that calls a tool or asks a model")
    if given.tool is not None:
        workflow = apply(_swap(node, given.tool, given.rename), workflow)
        node = workflow.node(step)
        assert isinstance(node, ToolNode | MapNode)
    elif given.rename:
        raise ConfigurationsError("rename: only with a tool")
    changed = _with_policy(_with_call(node, given), given)
    return replace(workflow, nodes=tuple(changed if one.id == step else one for one in workflow.nodes))


def _swap(node: Calling, tool: str, rename: Mapping[str, str | None]) -> SwapTool:
    place, held = ("each", node.each) if isinstance(node, MapNode) else ("", node)
    if not isinstance(held, ToolNode | Call):
        raise ConfigurationsError("it calls no tool, so it can't call another one")
    lost = sorted(rename.keys() - held.arguments.keys())
    if lost:
        raise ConfigurationsError(f"rename: the step has no argument {lost[0]}")
    names = ((name, rename.get(name, name)) for name in held.arguments)
    return SwapTool(node.id, place, tool, tuple((old, new) for old, new in names if new is not None))


def _with_call(node: Calling, given: Alternative) -> Calling:
    if isinstance(node, MapNode):
        each = node.each
        return replace(node, each=_asked(each, given) if isinstance(each, Ask) else _called(each, given))
    return _asked(node, given) if isinstance(node, ModelNode) else _called(node, given)


def _asked(held: Asking, given: Alternative) -> Asking:
    if given.arguments:
        raise ConfigurationsError("arguments: it asks a model, which takes none")
    return replace(held, **_given(given, "model", "prompt", "max_tokens"))


def _called(held: CallsTool, given: Alternative) -> CallsTool:
    for name in _given(given, "model", "prompt", "max_tokens"):
        raise ConfigurationsError(f"{name}: it calls a tool and asks no model")
    literals = {name: Literal(value) for name, value in given.arguments.items()}
    return replace(held, arguments={**held.arguments, **literals})


def _with_policy(node: Calling, given: Alternative) -> Calling:
    return replace(node, policy=replace(node.policy, **_given(given, "retries", "timeout_seconds")))


def _given(given: Alternative, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(given, name)) is not None}


@cache
def _adapter() -> TypeAdapter[Configurations]:
    return TypeAdapter(Configurations)
