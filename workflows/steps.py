"""One step of a run: what it takes, its calls with retries, what is done about a failure, and the record of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.calling import Caller, ModelRequest, Outcome, ToolRequest
from workflows.compiled import Step, complaint
from workflows.graph import (
    Ask,
    BranchNode,
    Call,
    MapNode,
    MergeNode,
    ModelNode,
    OutputNode,
    Predicate,
    ToolNode,
    ValidatorNode,
)
from workflows.record import NodeRecord, State
from workflows.values import Missing, Reader, holds, read_all, reader, render

NOT_TAKEN = "a branch went another way"
NOT_DONE = "something that it needs is not done"


@dataclass(slots=True)
class Course:
    """One run under way."""

    caller: Caller
    slots: asyncio.Semaphore
    values: dict[str, Any]
    states: dict[str, State] = field(default_factory=dict)


@dataclass(slots=True)
class _Effort:
    """What a step did so far."""

    arguments: dict[str, object] = field(default_factory=dict)
    attempts: int = 0


def skipped(step: Step, course: Course) -> NodeRecord | None:
    """The record of a step that does not run; None if it runs."""
    if step.when is not None and course.values.get(step.when[0]) != step.when[1]:
        decided = course.states[step.when[0]] == "done"
        return NodeRecord(step.id, "skipped", error=NOT_TAKEN if decided else NOT_DONE)
    node = step.node
    optional = {ref.source for ref in node.sources} if isinstance(node, MergeNode) else ()
    states = course.states
    for name in step.needs:
        if states[name] != "done" and name not in optional:
            return NodeRecord(step.id, "skipped", error=NOT_DONE)
    return None


def is_local(step: Step) -> bool:
    """Needs no call, whatever happens."""
    calling = isinstance(step.node, ToolNode | ModelNode | MapNode)
    return not calling and step.node.policy.recovery is None


def settled(step: Step, course: Course) -> NodeRecord:
    """The record of a local step."""
    effort = _Effort()
    outcome = _checked(step, course, lambda: _local(step, course, effort))
    if outcome.error is not None and step.fallback is not None:
        outcome = _fallen_back(step.fallback, course, outcome)
    return _record(step, effort, outcome)


async def performed(step: Step, course: Course) -> NodeRecord:
    """The record of a step that calls."""
    effort = _Effort()
    outcome = await _first(step, course, effort)
    policy = step.node.policy
    if outcome.error is not None and not outcome.uncertain:
        if policy.recovery is not None:
            outcome = await _recovered(step, policy.recovery, course, effort)
        if outcome.error is not None and not outcome.uncertain and step.fallback is not None:
            outcome = _fallen_back(step.fallback, course, outcome)
    return _record(step, effort, outcome)


async def _first(step: Step, course: Course, effort: _Effort) -> Outcome:
    node = step.node
    try:
        wrong = _unmet(node.requires, course.values, "requires")
        if wrong:
            return Outcome(None, wrong)
        if isinstance(node, ToolNode):
            effort.arguments = read_all(step.takes, course.values)
            call = _tool(step, course, node.tool, "", effort.arguments)
            return await _calls(step, course, effort, call, node.tool)
        if isinstance(node, ModelNode):
            effort.arguments = read_all(step.takes, course.values)
            ask = Ask(node.prompt, {}, node.answer, node.model, node.max_tokens)
            return await _calls(step, course, effort, _model(step, course, ask, "", effort.arguments), None)
        if isinstance(node, MapNode):
            return await _mapped(step, node, course, effort)
        return _ensured(step, course, _local(step, course, effort))
    except Missing as error:
        return Outcome(None, str(error))


async def _calls(
    step: Step, course: Course, effort: _Effort, call: Callable[[int], Awaitable[Outcome]], tool: str | None
) -> Outcome:
    """Tried as often as the policy says; but what may have happened already, only if once more does no harm."""
    policy, outcome = step.node.policy, Outcome(None)
    for attempt in range(1, policy.retries + 2):
        effort.attempts += 1
        try:
            async with course.slots, asyncio.timeout(policy.timeout_seconds):
                outcome = await call(attempt)
        except TimeoutError:
            outcome = Outcome(None, f"no answer within {policy.timeout_seconds:g} s", uncertain=True)
        if outcome.uncertain and (tool is None or course.caller.repeatable(tool)):
            outcome = outcome._replace(uncertain=False)
        outcome = _ensured(step, course, outcome)
        if outcome.error is None or outcome.uncertain:
            break
    return outcome


def _tool(
    step: Step, course: Course, tool: str, place: str, arguments: dict[str, object]
) -> Callable[[int], Awaitable[Outcome]]:
    return lambda attempt: course.caller.tool(ToolRequest(step.id, place, attempt, tool, arguments))


def _model(
    step: Step, course: Course, ask: Ask, place: str, values: Mapping[str, object]
) -> Callable[[int], Awaitable[Outcome]]:
    async def call(attempt: int) -> Outcome:
        prompt = render(ask.prompt, values)
        request = ModelRequest(step.id, place, attempt, prompt, ask.answer, ask.model, ask.max_tokens)
        outcome = await course.caller.model(request)
        wrong = complaint(step.validator, outcome.value) if step.validator and outcome.error is None else None
        return Outcome(outcome.value, f"the model's answer: {wrong}") if wrong else outcome

    return call


async def _mapped(step: Step, node: MapNode, course: Course, effort: _Effort) -> Outcome:
    assert step.over is not None
    items = step.over(course.values)
    if not isinstance(items, list):
        return Outcome(None, f"over: expected a list, found {type(items).__name__}")
    if node.limit is None or len(items) > node.limit:
        return Outcome(None, f"over: {len(items)} items, at most {node.limit or 0} are allowed")
    effort.arguments = {"over": items}

    async def one(index: int, item: object) -> Outcome:
        arguments, place = read_all(step.takes, {**course.values, "item": item}), f"each.{index}"
        if isinstance(node.each, Call):
            tool = node.each.tool
            return await _calls(step, course, effort, _tool(step, course, tool, place, arguments), tool)
        return await _calls(step, course, effort, _model(step, course, node.each, place, arguments), None)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_missed(one(index, item))) for index, item in enumerate(items)]
    except BaseExceptionGroup as broken:
        raise broken.exceptions[0] from None  # as a tool step's caller would raise it
    outcomes = [task.result() for task in tasks]
    values = [outcome.value for outcome in outcomes]
    for index, outcome in enumerate(outcomes):
        if outcome.error is not None:
            uncertain = any(other.uncertain for other in outcomes)
            return Outcome(values, f"item {index}: {outcome.error}", uncertain)
    return _ensured(step, course, Outcome(values))


async def _missed(outcome: Awaitable[Outcome]) -> Outcome:
    try:
        return await outcome
    except Missing as error:
        return Outcome(None, str(error))


async def _recovered(step: Step, recovery: Call, course: Course, effort: _Effort) -> Outcome:
    try:
        arguments = read_all(step.recovery, course.values)
    except Missing as error:
        return Outcome(None, str(error))
    call = _tool(step, course, recovery.tool, "policy.recovery", arguments)
    return await _calls(step, course, effort, call, recovery.tool)


def _fallen_back(fallback: Reader, course: Course, failed: Outcome) -> Outcome:
    try:
        return Outcome(fallback(course.values))
    except Missing as error:
        return Outcome(None, f"{failed.error}; and to fall back: {error}")


def _checked(step: Step, course: Course, local: Callable[[], Outcome]) -> Outcome:
    wrong = _unmet(step.node.requires, course.values, "requires")
    if wrong:
        return Outcome(None, wrong)
    try:
        return _ensured(step, course, local())
    except Missing as error:
        return Outcome(None, str(error))


def _local(step: Step, course: Course, effort: _Effort) -> Outcome:
    node, values = step.node, course.values
    if isinstance(node, MergeNode):
        return _merged(step, node, course, effort)
    if isinstance(node, BranchNode):
        taken = next((arm.name for arm in node.arms if holds(arm.when, values)), node.otherwise)
        return Outcome(taken, None if taken is not None else "no arm holds")
    effort.arguments = read_all(step.takes, values)
    if isinstance(node, OutputNode):
        return Outcome(render(node.text, effort.arguments))
    assert isinstance(node, ValidatorNode)
    assert step.validator is not None
    value = effort.arguments["value"]
    wrong = complaint(step.validator, value)
    return Outcome(value, f"does not meet the schema: {wrong}") if wrong else Outcome(value)


def _merged(step: Step, node: MergeNode, course: Course, effort: _Effort) -> Outcome:
    done = [
        ref for ref in node.sources if ref.source not in course.states or course.states[ref.source] == "done"
    ]
    effort.arguments = {ref.ref: reader(ref)(course.values) for ref in done}
    found = list(effort.arguments.values())
    if node.mode == "list":
        return Outcome([effort.arguments[ref.ref] for ref in done])
    return Outcome(found[0]) if found else Outcome(None, "none of the sources is done")


def _ensured(step: Step, course: Course, outcome: Outcome) -> Outcome:
    if outcome.error is not None or not step.node.ensures:
        return outcome
    wrong = _unmet(step.node.ensures, {**course.values, step.id: outcome.value}, "ensures")
    return outcome._replace(error=wrong) if wrong else outcome


def _unmet(predicates: tuple[Predicate, ...], values: Mapping[str, Any], name: str) -> str | None:
    for index, predicate in enumerate(predicates):
        if not holds(predicate, values):
            return f"{name}.{index} does not hold"
    return None


def _record(step: Step, effort: _Effort, outcome: Outcome) -> NodeRecord:
    state: State = "done" if outcome.error is None else "failed"
    return NodeRecord(step.id, state, effort.arguments, outcome.value, outcome.error, effort.attempts)
