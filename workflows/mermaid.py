"""A workflow drawn as a Mermaid flowchart. Text from a workflow is hostile: it can't end a label or start a directive."""

from collections.abc import Iterator

from workflows.graph import (
    INPUTS,
    RESERVED,
    Ask,
    BranchNode,
    MapNode,
    ModelNode,
    Node,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
    dependencies,
    taken,
)

LONGEST = 60
_ESCAPED = {ord(sign): f"#{ord(sign)};" for sign in '#&"<>`|{}[]();'}
_SHAPES = {"branch": ("{", "}"), "output": ("([", "])"), "map": ("[[", "]]"), "validator": ("{{", "}}")}


def mermaid(workflow: Workflow) -> str:
    """Flowchart text. Full arrows carry results and name where they go; dotted ones only order or choose."""
    ids = {
        node.id: f"n{index}" for index, node in enumerate(sorted(workflow.nodes, key=lambda node: node.id))
    }
    lines = ["flowchart TD"]
    if workflow.inputs:
        lines.append(f"  {INPUTS}[/{_label('inputs: ' + ', '.join(sorted(workflow.inputs)))}/]")
    for node in sorted(workflow.nodes, key=lambda node: node.id):
        opening, closing = _SHAPES.get(node.kind, ("[", "]"))
        lines.append(f"  {ids[node.id]}{opening}{_label(f'{node.id}: {what(node)}')}{closing}")
    names = ids | ({INPUTS: INPUTS} if workflow.inputs else {})
    for node in sorted(workflow.nodes, key=lambda node: node.id):
        lines.extend(_arrows(node, names))
    return "\n".join(lines) + "\n"


def what(node: Node) -> str:
    """A step in a few words."""
    match node:
        case ToolNode():
            return node.tool
        case ModelNode():
            return "ask a model"
        case BranchNode():
            return " or ".join(node.names)
        case MapNode():
            each = "ask a model" if isinstance(node.each, Ask) else node.each.tool
            return f"for each: {each}"
        case OutputNode():
            return "answer"
    return node.kind


def _arrows(node: Node, names: dict[str, str]) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for place, argument in taken(node):
        if isinstance(argument, Ref) and argument.source in names and argument.source != node.id:
            places.setdefault(argument.source, []).append(place.rpartition(".")[2])
    for source, found in sorted(places.items()):
        yield f"  {names[source]} -->|{_label(', '.join(found))}| {names[node.id]}"
    branch, _, arm = (node.when or "").partition(".")
    if branch in names:
        yield f"  {names[branch]} -.->|{_label(arm)}| {names[node.id]}"
    for source in sorted(dependencies(node) - places.keys() - {branch} - RESERVED):
        if source in names:
            yield f"  {names[source]} -.-> {names[node.id]}"


def _label(text: str) -> str:
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    shown = "".join(sign if sign.isprintable() else " " for sign in short)
    return '"' + shown.translate(_ESCAPED) + '"'
