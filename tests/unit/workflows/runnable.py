"""Hypothesis strategy: workflows without circles, of every kind of step that calls or decides, for tools that fail now
and then."""

import hashlib
import json

from hypothesis import strategies as st

from workflows.calling import Outcome, ToolRequest
from workflows.graph import (
    Argument,
    Arm,
    BranchNode,
    Call,
    Compare,
    Literal,
    MapNode,
    MergeNode,
    Node,
    OutputNode,
    Policy,
    Ref,
    ToolNode,
    Workflow,
)

PATHS = ("", ".n", ".list", ".list.0", ".list.1.n", ".none", ".list.9")


@st.composite
def runnable(draw: st.DrawFn, most: int = 10) -> Workflow:
    nodes: list[Node] = []
    branches: list[BranchNode] = []
    for index in range(draw(st.integers(1, most))):
        node_id = f"{draw(st.sampled_from('abcdef'))}{index}"
        nodes.append(draw(one_node(node_id, [node.id for node in nodes], branches)))
        if isinstance(nodes[-1], BranchNode):
            branches.append(nodes[-1])
    shown = draw(arguments([node.id for node in nodes]))
    nodes.append(OutputNode(id="out", text="", values=shown))
    return Workflow("w", "", tuple(draw(st.permutations(nodes))), {"x": {}})


@st.composite
def one_node(draw: st.DrawFn, node_id: str, before: list[str], branches: list[BranchNode]) -> Node:
    when = None
    if branches and draw(st.booleans()):
        branch = draw(st.sampled_from(branches))
        when = f"{branch.id}.{draw(st.sampled_from(branch.names))}"
    after = tuple(draw(st.lists(st.sampled_from(before), max_size=1))) if before else ()
    fallback = draw(st.none() | argument(before))
    policy = Policy(retries=draw(st.integers(0, 2)), fallback=fallback)
    common = {"id": node_id, "after": after, "when": when, "policy": policy}
    kind = draw(st.sampled_from(["tool", "tool", "tool", "map", "merge", "branch"]))
    if kind == "map":
        each = Call("s/each", {**draw(arguments(before)), "item": Ref("item")})
        return MapNode(**common, over=draw(argument(before, ".list")), each=each, limit=2)
    if kind == "merge" and before:
        sources = [
            Ref(name + draw(st.sampled_from(PATHS))) for name in draw(st.lists(st.sampled_from(before)))
        ]
        return MergeNode(**common, sources=tuple(sources), mode=draw(st.sampled_from(["first", "list"])))
    if kind == "branch":
        arms = (Arm("yes", Compare(draw(argument(before)), "eq", draw(argument(before)))),)
        return BranchNode(**common, arms=arms, otherwise=draw(st.none() | st.just("no")))
    return ToolNode(**common, tool="s/tool", arguments=draw(arguments(before)))


def argument(before: list[str], path: str | None = None) -> st.SearchStrategy[Argument]:
    paths = st.just(path) if path else st.sampled_from(PATHS)
    literal = st.sampled_from([Literal(1), Literal([1, 2]), Literal("x")])
    source = st.sampled_from(["inputs", *before])
    return literal | st.builds(lambda name, way: Ref(name + way), source, paths)


def arguments(before: list[str]) -> st.SearchStrategy[dict[str, Argument]]:
    return st.dictionaries(st.sampled_from("pqr"), argument(before), max_size=2)


def chance(request: ToolRequest, seed: int) -> int:
    """0 to 99, from the call alone: whoever makes it, and whenever."""
    text = json.dumps([seed, *request], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[0] * 100 // 256


def answer(request: ToolRequest, seed: int, faults: int) -> Outcome:
    """Fails at a rate of `faults` of 100; else some numbers."""
    number = chance(request, seed)
    if number < faults:
        return Outcome(None, "a fault")
    return Outcome({"n": number, "list": [number, {"n": number % 7}][: number % 4]})
