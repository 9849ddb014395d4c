"""Hypothesis strategies for workflows: any that can be written down, and those that can run."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from workflows.graph import (
    Arm,
    Ask,
    BranchNode,
    Call,
    Combine,
    Compare,
    Exists,
    Literal,
    MapNode,
    MergeNode,
    ModelNode,
    Node,
    OutputNode,
    Policy,
    Predicate,
    Ref,
    ToolNode,
    ValidatorNode,
    Workflow,
)

names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("inputs", "item")
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
refs = st.builds(
    lambda source, path: Ref(".".join([source, *path])),
    names | st.sampled_from(["inputs", "item"]),
    st.lists(st.text(alphabet="abcXYZ019_", min_size=1), max_size=3),
)
argument = values.map(Literal) | refs
arguments = st.dictionaries(st.text(min_size=1, max_size=6), argument, max_size=3)
tools = st.from_regex(r"[a-z]{1,5}/[a-z_]{1,8}", fullmatch=True)
calls = st.builds(Call, tools, arguments)
schemas = st.sampled_from(
    [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "integer"}}}, {}]
)
asks = st.builds(Ask, st.text(), arguments, st.none() | schemas)
comparisons = st.builds(
    Compare, argument, st.sampled_from(["eq", "lt", "in", "contains", "starts_with"]), argument
)
predicates: st.SearchStrategy[Predicate] = st.recursive(
    comparisons | st.builds(Exists, refs),
    lambda inner: st.builds(
        Combine, st.sampled_from(["all", "any", "none"]), st.lists(inner, max_size=2).map(tuple)
    ),
    max_leaves=3,
)
policies = st.builds(
    Policy, st.integers(0, 3), st.none() | st.just(1.5), st.none() | calls, st.none() | argument
)
common: Mapping[str, Any] = {
    "id": names,
    "after": st.lists(names, max_size=2).map(tuple),
    "when": st.none() | st.just("b.arm"),
    "requires": st.lists(predicates, max_size=1).map(tuple),
    "ensures": st.lists(predicates, max_size=1).map(tuple),
    "policy": policies,
}
nodes: st.SearchStrategy[Node] = st.one_of(
    st.builds(ToolNode, **common, tool=tools, arguments=arguments, effect=st.none() | st.just("write")),
    st.builds(ModelNode, **common, prompt=st.text(), values=arguments, answer=st.none() | schemas),
    st.builds(
        BranchNode,
        **common,
        arms=st.lists(st.builds(Arm, names, predicates), max_size=2).map(tuple),
        otherwise=names,
    ),
    st.builds(MapNode, **common, over=argument, each=calls | asks, limit=st.none() | st.integers(1, 9)),
    st.builds(
        MergeNode,
        **common,
        sources=st.lists(refs, max_size=2).map(tuple),
        mode=st.sampled_from(["first", "list"]),
    ),
    st.builds(ValidatorNode, **common, value=argument, schema=schemas),
    st.builds(OutputNode, **common, text=st.text(), values=arguments),
)
workflows = st.builds(
    Workflow,
    name=names,
    description=st.text(),
    nodes=st.lists(nodes, max_size=5, unique_by=lambda node: node.id).map(tuple),
    inputs=st.dictionaries(names, st.just({"type": "string"}), max_size=2),
    trigger=st.none() | st.just("^(?P<x>.*)$"),
    capabilities=st.none() | st.lists(tools, max_size=2).map(tuple),
)
