"""The plainest interpreter of a workflow: one step after the other, nothing at once, written apart from the engine."""

from typing import Any

from workflows.calling import Outcome, ToolRequest
from workflows.graph import (
    Argument,
    BranchNode,
    Call,
    Compare,
    Literal,
    MapNode,
    MergeNode,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
    dependencies,
)


class Lost(Exception):
    pass


def interpret(workflow: Workflow, inputs: dict[str, object], answer: Any) -> dict[str, tuple[str, object]]:
    """Step -> state and value. `answer`: outcome of a tool request. Knows the kinds of step that `runnable` draws."""
    state: dict[str, str] = {}
    value: dict[str, Any] = {"inputs": inputs}
    while len(state) < len(workflow.nodes):
        for node in sorted(workflow.nodes, key=lambda node: node.id):
            if node.id not in state and dependencies(node) <= state.keys():
                state[node.id], found = one(node, state, value, answer)
                if state[node.id] == "done":
                    value[node.id] = found
    return {name: (state[name], value.get(name)) for name in state}


def one(node: Node, state: dict[str, str], value: dict[str, Any], answer: Any) -> tuple[str, Any]:
    if node.when is not None and value.get(node.when.split(".")[0]) != node.when.split(".")[1]:
        return "skipped", None
    optional = {ref.ref.split(".")[0] for ref in node.sources} if isinstance(node, MergeNode) else set()
    if any(state[name] != "done" for name in dependencies(node) - optional):
        return "skipped", None
    try:
        return "done", worked(node, state, value, answer)
    except Lost:
        fallback = node.policy.fallback
        if fallback is None:
            return "failed", None
    try:
        return "done", look(fallback, value)
    except Lost:
        return "failed", None


def worked(node: Node, state: dict[str, str], value: dict[str, Any], answer: Any) -> Any:
    if isinstance(node, ToolNode):
        return called(node, "", {name: look(arg, value) for name, arg in node.arguments.items()}, answer)
    if isinstance(node, MapNode):
        items = look(node.over, value)
        if not isinstance(items, list) or len(items) > (node.limit or 0):
            raise Lost
        results, lost = [], False
        for index, item in enumerate(items):
            try:
                seen = {**value, "item": item}
                assert isinstance(node.each, Call)
                arguments = {name: look(arg, seen) for name, arg in node.each.arguments.items()}
                results.append(called(node, f"each.{index}", arguments, answer))
            except Lost:
                lost = True
        if lost:
            raise Lost
        return results
    if isinstance(node, MergeNode):
        done = [
            look(ref, value) for ref in node.sources if state.get(ref.ref.split(".")[0], "done") == "done"
        ]
        if node.mode == "first" and not done:
            raise Lost
        return done if node.mode == "list" else done[0]
    if isinstance(node, BranchNode):
        for arm in node.arms:
            assert isinstance(arm.when, Compare)
            try:
                if look(arm.when.left, value) == look(arm.when.right, value):
                    return arm.name
            except Lost:
                continue
        if node.otherwise is None:
            raise Lost
        return node.otherwise
    assert isinstance(node, OutputNode)
    for name in sorted(node.values):
        look(node.values[name], value)
    return None


def called(node: Node, place: str, arguments: dict[str, Any], answer: Any) -> Any:
    tool = node.each.tool if isinstance(node, MapNode) else node.tool  # type: ignore[union-attr]
    for attempt in range(1, node.policy.retries + 2):
        outcome: Outcome = answer(ToolRequest(node.id, place, attempt, tool, arguments))
        if outcome.error is None:
            return outcome.value
    raise Lost


def look(argument: Argument, value: dict[str, Any]) -> Any:
    if isinstance(argument, Literal):
        return argument.value
    assert isinstance(argument, Ref)
    first, *path = argument.ref.split(".")
    if first not in value:
        raise Lost
    found = value[first]
    for part in path:
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (LookupError, TypeError, ValueError):
            raise Lost from None
    return found
