"""A workflow as boxes and arrows, in two columns that fit a telephone: where each stands, for an SVG, and the same in words.

Steps stand in layers, by what they wait for; what stands in one layer may run at once. An arrow that passes other steps
goes round them at the margin. All text is hostile: it is cut here and escaped where it is printed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workflows.codec import from_json
from workflows.graph import INPUTS, RESERVED, Argument, Node, Ref, Workflow, dependencies, taken
from workflows.mermaid import what
from workflows.order import Order

MOST_STEPS, MOST_ARROWS, MOST_TAKEN = 64, 256, 12
WIDTH, MARGIN, GAP = 360, 22, 12
BOX_WIDTH, BOX_HEIGHT, ROW = 152, 58, 92
LANES, LANE = 4, 4
LETTERS = 20
"""Of a box's line."""

Table = Mapping[str, Any]
"""A workflow in its canonical form."""
Mark = Literal["", "added", "removed", "changed"]


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    step: str
    lines: tuple[str, ...]
    kind: str
    mark: Mark

    @property
    def middle(self) -> float:
        return self.x + BOX_WIDTH / 2


@dataclass(frozen=True)
class Arrow:
    path: str
    head: str
    kind: Literal["carries", "orders"]
    mark: Mark


@dataclass(frozen=True)
class Told:
    """A step in words."""

    step: str
    does: str
    takes: tuple[str, ...]
    waits: tuple[str, ...]
    mark: Mark


@dataclass(frozen=True)
class Drawing:
    name: str
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    bands: tuple[tuple[float, float], ...]
    """Top and height of what runs at once."""
    told: tuple[Told, ...]
    hidden: int
    """Steps that are not drawn, for they are too many."""
    width: int = WIDTH
    box: tuple[int, int] = (BOX_WIDTH, BOX_HEIGHT)

    @property
    def label(self) -> str:
        return f"{self.name}: {len(self.told)} steps, as boxes with arrows. The same stands below as a table."


def draw_both(before: Table | None, after: Table | None) -> list[tuple[str, Drawing]]:
    """What there is of two versions, under its name; where there are both, with what differs marked."""
    old = [("Before", draw(before, after, "removed"))] if before is not None else []
    new = [("After", draw(after, before, "added"))] if after is not None else []
    return old + new


def draw(table: Table, other: Table | None = None, alone: Mark = "") -> Drawing:
    """`other`: the version that it is compared with. `alone`: the mark of what only this one has."""
    workflow = from_json(dict(table))
    order = Order(workflow)
    marks = _marks(table, other, alone)
    hidden = max(0, len(order.nodes) - MOST_STEPS)
    rows = [] if hidden else list(_rows(workflow, order))
    boxes = {box.step: box for box in _boxes(order, rows, marks, _inputs(workflow))}
    pairs = list(_pairs(order, boxes))[:MOST_ARROWS]
    others = set(_edges(other)) if other is not None else set(pairs)
    return Drawing(
        name=workflow.name,
        height=len(rows) * ROW - (ROW - BOX_HEIGHT) + 16,
        boxes=tuple(boxes.values()),
        arrows=tuple(_arrows(pairs, boxes, others, alone)),
        bands=tuple(_bands(rows)),
        told=tuple(_told(node, marks.get(node.id, "")) for node in _in_order(order)[:MOST_STEPS]),
        hidden=hidden,
    )


Pair = tuple[str, str, Literal["carries", "orders"]]


def _marks(table: Table, other: Table | None, alone: Mark) -> dict[str, Mark]:
    if other is None:
        return {}
    mine, theirs = ({node["id"]: node for node in one["nodes"]} for one in (table, other))
    changed: Mark = "changed"
    return {
        step: alone if step not in theirs else changed
        for step, node in mine.items()
        if theirs.get(step) != node
    }


def _inputs(workflow: Workflow) -> Box | None:
    if not workflow.inputs:
        return None
    names = ", ".join(sorted(workflow.inputs))
    return Box((WIDTH - BOX_WIDTH) / 2, 8, INPUTS, _lines("inputs", names), INPUTS, "")


def _rows(workflow: Workflow, order: Order) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Layer and ids of each row; what waits for itself stands last."""
    stuck = tuple(sorted(order.nodes.keys() - set(order.sequence)))
    layers = [layer for layer in ((INPUTS,) if workflow.inputs else (), *order.layers, stuck) if layer]
    for number, layer in enumerate(layers):
        names = _untangled(layer, layers[number - 1] if number else (), order)
        for start in range(0, len(names), 2):
            yield number, tuple(names[start : start + 2])


def _untangled(layer: Sequence[str], above: Sequence[str], order: Order) -> list[str]:
    """Each step below what it takes from, so that fewer arrows cross."""
    places = {name: index for index, name in enumerate(above)}

    def centre(name: str) -> tuple[float, str]:
        found = [places[other] for other in order.needs.get(name, ()) if other in places]
        return (sum(found) / len(found) if found else len(places) / 2, name)

    return sorted(layer, key=centre)


def _boxes(
    order: Order, rows: Sequence[tuple[int, tuple[str, ...]]], marks: Mapping[str, Mark], inputs: Box | None
) -> Iterator[Box]:
    for number, (_, names) in enumerate(rows):
        left = (WIDTH - len(names) * BOX_WIDTH - (len(names) - 1) * GAP) / 2
        for column, name in enumerate(names):
            node = order.nodes.get(name)
            if node is None:
                if inputs is not None:
                    yield inputs
                continue
            lines = _lines(name, what(node))
            x = left + column * (BOX_WIDTH + GAP)
            yield Box(x, 8 + number * ROW, name, lines, node.kind, marks.get(name, ""))


def _bands(rows: Sequence[tuple[int, tuple[str, ...]]]) -> Iterator[tuple[float, float]]:
    for layer in dict.fromkeys(layer for layer, _ in rows):
        held = [(row, names) for row, (number, names) in enumerate(rows) if number == layer]
        if sum(len(names) for _, names in held) > 1:
            yield 8 + held[0][0] * ROW - 8, (len(held) - 1) * ROW + BOX_HEIGHT + 16


def _edges(table: Table) -> Iterator[Pair]:
    order = Order(from_json(dict(table)))
    yield from _pairs(order, {**order.nodes, INPUTS: None})


def _pairs(order: Order, drawn: Mapping[str, object]) -> Iterator[Pair]:
    for name, node in sorted(order.nodes.items()):
        carried = {argument.source for _, argument in taken(node) if isinstance(argument, Ref)} - {name}
        if name in drawn:
            yield from ((source, name, "carries") for source in sorted(carried & drawn.keys()))
            waits = dependencies(node) - carried - RESERVED
            yield from ((source, name, "orders") for source in sorted(waits & drawn.keys() - {name}))


def _arrows(
    pairs: Sequence[Pair], boxes: Mapping[str, Box], others: set[Pair], alone: Mark
) -> Iterator[Arrow]:
    used = {"left": 0, "right": 0}
    for source, target, kind in pairs:
        one, other = boxes[source], boxes[target]
        x, y, to_x, to_y = one.middle, one.y + BOX_HEIGHT, other.middle, other.y - 1
        if 0 < other.y - one.y <= ROW:
            bend = (to_y - y) / 2
            path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y - 5:g}"
        else:
            path = _around(x, y, to_x, to_y, used)
        head = f"M{to_x - 4:g} {to_y - 7:g}L{to_x + 4:g} {to_y - 7:g}L{to_x:g} {to_y:g}Z"
        yield Arrow(path, head, kind, "" if (source, target, kind) in others else alone)


def _around(x: float, y: float, to_x: float, to_y: float, used: dict[str, int]) -> str:
    """Past the rows between, in one of a margin's lanes; these are shared when there are more."""
    side = "left" if x + to_x < WIDTH or (x + to_x == WIDTH and used["left"] <= used["right"]) else "right"
    offset = 4 + (used[side] % LANES) * LANE
    lane = offset if side == "left" else WIDTH - offset
    used[side] += 1
    return (
        f"M{x:g} {y:g}C{x:g} {y + 16:g} {lane:g} {y:g} {lane:g} {y + 18:g}"
        f"L{lane:g} {to_y - 22:g}C{lane:g} {to_y - 6:g} {to_x:g} {to_y - 20:g} {to_x:g} {to_y - 5:g}"
    )


def _lines(name: str, does: str) -> tuple[str, ...]:
    """The step's id, and what it does in two lines at most, broken behind a blank or a stroke where there is one."""
    if len(does) <= LETTERS:
        return (_cut(name), does)
    end = max(does.rfind(sign, 0, LETTERS) for sign in " /") + 1 or LETTERS
    return (_cut(name), does[:end].rstrip(), _cut(does[end:]))


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


def _in_order(order: Order) -> list[Node]:
    stuck = sorted(order.nodes.keys() - set(order.sequence))
    return [order.nodes[name] for name in (*order.sequence, *stuck)]


def _told(node: Node, mark: Mark) -> Told:
    takes = [_takes(place, argument) for place, argument in taken(node)]
    more = [f"and {len(takes) - MOST_TAKEN} more"] if len(takes) > MOST_TAKEN else []
    waits = sorted(dependencies(node) - RESERVED - {a.source for _, a in taken(node) if isinstance(a, Ref)})
    waits = (
        [node.when, *(name for name in waits if name != node.when.partition(".")[0])] if node.when else waits
    )
    return Told(node.id, what(node), (*takes[:MOST_TAKEN], *more), tuple(waits[:MOST_TAKEN]), mark)


def _takes(place: str, argument: Argument) -> str:
    name = place.removeprefix("arguments.").removeprefix("values.")
    return f"{name} from {argument.ref}" if isinstance(argument, Ref) else f"{name}: {argument.value!r:.80}"
