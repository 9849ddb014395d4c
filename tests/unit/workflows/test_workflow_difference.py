"""What a change of a workflow changes, and that no capability comes in unseen; drawn, hostile text stays text."""

import random
from dataclasses import replace

from graphs import workflows
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.catalog import ToolSpec, catalog
from workflows.codec import digest
from workflows.difference import capabilities, difference
from workflows.graph import Call, Literal, MapNode, OutputNode, Policy, Ref, ToolNode, Workflow
from workflows.mermaid import mermaid

TOOLS = catalog([ToolSpec("s", "read", effect="read"), ToolSpec("s", "write", effect="write")])


def flow(*nodes: ToolNode | MapNode) -> Workflow:
    return Workflow("w", "", (*nodes, OutputNode(id="out", text="{a}", values={"a": Ref("one")})))


def test_steps_and_capabilities() -> None:
    one = flow(ToolNode(id="one", tool="s/read", arguments={"p": Literal(1), "q": Ref("inputs.x")}))
    recovering = Policy(recovery=Call("s/write"))
    two = flow(
        ToolNode(id="one", tool="s/read", arguments={"p": Ref("inputs.p")}, policy=recovering),
        MapNode(id="all", over=Literal([]), each=Call("s/new"), limit=1),
    )
    found = difference(one, two, TOOLS)
    assert [(change.node, change.place) for change in found.changes] == [
        ("all", ""),
        ("one", "arguments.p"),
        ("one", "arguments.q"),
        ("one", "policy"),
    ]
    assert found.gained == {"s/new": "irreversible", "s/write": "write"}
    assert difference(two, one, TOOLS).lost == found.gained
    assert not difference(one, one)


def test_an_author_can_not_talk_an_effect_down() -> None:
    sly = flow(ToolNode(id="one", tool="s/write", effect="read"))
    assert capabilities(sly, TOOLS) == {"s/write": "write"}
    assert capabilities(sly) == {"s/write": "irreversible"}


@settings(max_examples=20, deadline=None)
@given(workflows, workflows, st.randoms(use_true_random=False))
def test_whatever_changes_is_shown(one: Workflow, other: Workflow, dice: random.Random) -> None:
    """Steps of the other are put into the one, at random: a tool that it could not call before is always in sight."""
    nodes = {node.id: node for node in one.nodes} | {
        node.id: node for node in other.nodes if dice.random() < 0.5
    }
    mixed = replace(one, nodes=tuple(nodes.values()))
    found = difference(one, mixed)
    assert bool(found) == (digest(one) != digest(mixed))
    assert mixed.tools - one.tools == found.gained.keys()


@settings(max_examples=15, deadline=None)
@given(workflows)
def test_any_workflow_can_be_drawn(workflow: Workflow) -> None:
    drawn = mermaid(workflow)
    assert drawn.startswith("flowchart TD\n")
    for line in drawn.splitlines():
        assert line.count('"') in (0, 2)


def test_a_label_can_not_break_out() -> None:
    hostile = ToolNode(id="one", tool="s/x", arguments={'"]\n click n0 "javascript:1" %%{': Ref("two")})
    drawn = mermaid(flow(hostile, ToolNode(id="two", tool="s/y")))
    assert "click" in drawn
    assert all(line.strip().startswith(("n", "flowchart")) for line in drawn.splitlines())
    assert "#34;#93;  click n0 #34;javascript:1#34; %%#123;" in drawn
