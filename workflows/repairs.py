"""What may be done about each problem that the check finds: edits, the likeliest first, each tried on the workflow
before it is named.

Nothing here asks a model or calls a tool. A candidate counts if the problem is gone with it and nothing new is wrong.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, NamedTuple

from workflows.catalog import Catalog, ToolSpec
from workflows.check import MAX_ITEMS, Problem, check, leaves_something
from workflows.edits import (
    Bind,
    Bound,
    Edit,
    EditError,
    NotAfter,
    Remove,
    Rename,
    RunAfter,
    Show,
    SwapTool,
    Unbind,
    apply,
    arguments_at,
)
from workflows.graph import (
    Argument,
    Call,
    Literal,
    Node,
    OutputNode,
    Ref,
    Workflow,
    calls,
    dependencies,
    taken,
)
from workflows.order import Order
from workflows.ports import Ports
from workflows.reach import reachable
from workflows.tool_search import search, words
from workflows.types import Schema, allowed, fits, property_schema, sure, type_of

MOST_TRIED, MOST_NAMED, MOST_TOOLS = 24, 4, 5
ALIKE = 0.5
"""Names that share less are not taken for one another."""


Wrong = Callable[[Workflow], tuple[Problem, ...]]


class Repair(NamedTuple):
    edit: Edit
    left: int
    """Problems that the workflow has with it."""


def repairs(
    workflow: Workflow, catalog: Catalog, literals: Iterable[object] = (), wrong: Wrong | None = None
) -> dict[Problem, tuple[Repair, ...]]:
    """Every problem with what may be done about it, at most four each. `literals`: values that may stand for one that is
    missing, such as those that a request names. `wrong` finds the problems; None: the check."""
    return {problem: tuple(ways) for problem, ways in proposals(workflow, catalog, literals, wrong)}


def proposals(
    workflow: Workflow, catalog: Catalog, literals: Iterable[object] = (), wrong: Wrong | None = None
) -> list[tuple[Problem, Iterator[Repair]]]:
    """The same, each repair tried only when it is asked for."""
    scene = _Scene(workflow, catalog, literals, wrong or (lambda candidate: check(candidate, catalog)))
    return [(problem, islice(_proved(problem, scene), MOST_NAMED)) for problem in scene.problems]


class _Scene:
    def __init__(
        self, workflow: Workflow, catalog: Catalog, literals: Iterable[object], wrong: Wrong
    ) -> None:
        self.workflow, self.catalog, self.literals, self.wrong = workflow, catalog, tuple(literals), wrong
        self.problems = wrong(workflow)
        self.order = Order(workflow)
        self.ports = Ports(workflow, self.order, catalog)
        held = (argument for other in workflow.nodes for _, argument in taken(other))
        self.used = [argument.value for argument in held if isinstance(argument, Literal)]
        self.made_up = {problem.node for problem in self.problems if problem.kind == "ungrounded"}
        self.read = {name for node in workflow.nodes for name in dependencies(node) - set(node.after)}


def _proved(problem: Problem, scene: _Scene) -> Iterator[Repair]:
    known = {_place(one) for one in scene.problems}
    for edit in islice(_distinct(_candidates(problem, scene)), MOST_TRIED):
        try:
            left = scene.wrong(apply(edit, scene.workflow))
        except EditError:
            continue
        places = {_place(one) for one in left}
        if problem.kind == "unknown_tool":  # only now is it known what else is wrong with this call
            places = {place for place in places if place[1] != problem.node or place[0] == "unknown_tool"}
        if _place(problem) not in places and places <= known:
            yield Repair(edit, len(left))


def _distinct(edits: Iterable[Edit]) -> Iterator[Edit]:
    """By how they are written: a literal may be a list, and true is not 1."""
    seen: set[str] = set()
    for edit in edits:
        if (written := repr(edit)) not in seen:
            seen.add(written)
            yield edit


def _place(problem: Problem) -> tuple[str, str, str]:
    return problem.kind, problem.node, problem.path


def _candidates(problem: Problem, scene: _Scene) -> Iterator[Edit]:
    node = scene.order.nodes.get(problem.node)
    if node is None:
        return
    match problem.kind:
        case "unknown_tool":
            yield from _tools(node, problem.path, scene)
        case "unknown_argument":
            yield from _names(node, problem.path, scene)
            yield Unbind(node.id, problem.path)
        case "missing_argument":
            yield from _misnamed(node, problem.path, scene)
            yield from _values(node, problem.path, scene)
        case "ungrounded":
            yield from _values(node, problem.path, scene)
            yield Unbind(node.id, problem.path)
        case "argument_type":
            yield from _converted(node, problem.path, scene)
            yield from _values(node, problem.path, scene)
            yield Unbind(node.id, problem.path)
        case "dangling_reference":
            yield from _found_again(node, problem, scene)
        case "cycle":
            yield from (NotAfter(node.id, other) for other in node.after)
        case "unreachable":
            yield from _told(node, scene)
            yield Remove(node.id)
        case "unbounded_map":
            yield Bound(node.id, MAX_ITEMS)
        case "stage":
            others = [other for other in scene.order.sequence if other != node.id]
            yield from (RunAfter(node.id, other) for other in reversed(others))


def _told(node: Node, scene: _Scene) -> Iterator[Edit]:
    """Where nothing is changed, what was looked up is what the answer is about, unless its arguments were made up."""
    outputs = [other for other in scene.workflow.nodes if isinstance(other, OutputNode)]
    waited = {name for other in scene.workflow.nodes for name in dependencies(other)}
    changes = any(leaves_something(other, scene.catalog) for other in scene.workflow.nodes)
    if len(outputs) == 1 and node.id not in waited and not changes and node.id not in scene.made_up:
        yield Show(outputs[0].id, Ref(node.id))


def _tools(node: Node, path: str, scene: _Scene) -> Iterator[Edit]:
    """Tools whose names are near, then those that share words with the name."""
    place = path.rpartition("tool")[0].rstrip(".")
    call = next(call for where, call in calls(node) if where == place)
    near = sorted(scene.catalog, key=lambda spec: (-_alike(spec.key, call.tool), spec.key))
    found = [spec for spec in near[:MOST_TOOLS] if _alike(spec.key, call.tool) > ALIKE]
    found += search(scene.catalog, " ".join((call.tool, *call.arguments)), MOST_TOOLS)
    for spec in dict.fromkeys(spec.key for spec in found):
        yield swap(node.id, place, call, scene.catalog.tools[spec])


def swap(node_id: str, place: str, call: Call, spec: ToolSpec) -> SwapTool:
    """With the arguments carried over: by name, then by likeness of the name among those that fit."""
    wanted = _properties(spec.input_schema)
    renamed = {name: name for name in call.arguments if name in wanted}
    for name, argument in call.arguments.items():
        free = [other for other in wanted if other not in renamed.values()]
        best = max(free, key=lambda other: (_likeness(name, other), other), default=None)
        if name in renamed or best is None or not _takes(spec, best, argument):
            continue
        if _likeness(name, best) > ALIKE or (len(free) == 1 and best in spec.required):
            renamed[name] = best
    return SwapTool(node_id, place, spec.key, tuple(sorted(renamed.items())))


def _names(node: Node, path: str, scene: _Scene) -> Iterator[Edit]:
    """What the tool may call this argument."""
    holder, name, spec = _argument_of(node, path, scene)
    held = arguments_at(node, holder) or {}
    if spec is None or name not in held:
        return
    free = [other for other in _properties(spec.input_schema) if other not in held]
    fitting = [other for other in free if _takes(spec, other, held[name])]
    ranked = sorted(fitting, key=lambda other: (other not in spec.required, -_likeness(name, other), other))
    yield from (Rename(node.id, path, other) for other in ranked)


def _misnamed(node: Node, path: str, scene: _Scene) -> Iterator[Edit]:
    """What is missing may be there under a name that the tool does not know."""
    holder, name, spec = _argument_of(node, path, scene)
    held = arguments_at(node, holder) or {}
    known = _properties(spec.input_schema) if spec else {}
    strange = [other for other in held if other not in known and spec and _takes(spec, name, held[other])]
    for other in sorted(strange, key=lambda other: (-_likeness(name, other), other)):
        yield Rename(node.id, f"{holder}.{other}", name)


def _values(node: Node, path: str, scene: _Scene) -> Iterator[Edit]:
    """A default, a result that fits, or a value that was named; results that nobody reads come first."""
    _, name, spec = _argument_of(node, path, scene)
    wanted = _wanted(spec, name)
    if wanted is None:
        return
    yield from (Bind(node.id, path, Literal(value)) for value in _said(wanted))
    fitting = [ref for ref in scene.ports.refs(node) if sure(scene.ports.schema(ref, node), wanted)]
    ranked = sorted(fitting, key=lambda ref: _rank(ref, name, scene))
    yield from (Bind(node.id, path, ref) for ref in ranked)
    yield from (Bind(node.id, path, Literal(value)) for value in scene.literals if value not in scene.used)


def _converted(node: Node, path: str, scene: _Scene) -> Iterator[Edit]:
    """The same literal as another type, or what lies within the result."""
    top = path
    while top and (found := _bound(node, top)) is None:
        top = top.rpartition(".")[0]
    if not top or found is None:
        return
    _, name, spec = _argument_of(node, top, scene)
    wanted = _wanted(spec, name) or {}
    if isinstance(found, Literal):
        yield from (Bind(node.id, top, Literal(value)) for value in conversions(found.value, allowed(wanted)))
        return
    inner = [Ref(f"{found.ref}.{way}") for way in reachable(scene.ports.schema(found, node) or {})]
    fitting = [ref for ref in inner if sure(scene.ports.schema(ref, node), wanted)]
    yield from (Bind(node.id, top, ref) for ref in sorted(fitting, key=lambda ref: _rank(ref, name, scene)))


def conversions(value: Any, kinds: frozenset[str]) -> Iterator[object]:
    """The same value as one of these types, where that is plain."""
    if isinstance(value, str):
        try:
            read = json.loads(value)
        except ValueError:
            read = None
        if isinstance(read, int | float | list | dict | bool):
            yield read
        if "array" in kinds:
            yield [value]
    elif isinstance(value, list) and len(value) == 1:
        yield value[0]
    elif "string" in kinds:
        yield json.dumps(value, ensure_ascii=False)
    if "array" in kinds and not isinstance(value, list | str):
        yield [value]
    if "integer" in kinds and isinstance(value, float) and value.is_integer():
        yield int(value)


def _found_again(node: Node, problem: Problem, scene: _Scene) -> Iterator[Edit]:
    """The field under a name that is near, the same path in another step, or anything that fits."""
    if problem.path == "after":
        yield NotAfter(node.id, problem.found)
        return
    found = _bound(node, problem.path)
    if not isinstance(found, Ref):
        return
    refs = sorted(scene.ports.refs(node), key=lambda ref: (-_alike(ref.ref, found.ref), ref.ref))
    same = [ref for ref in refs if ref.source == found.source]
    tail = found.ref.rpartition(".")[2]
    ranked = sorted(
        same, key=lambda ref: (-_likeness(tail, ref.ref.rpartition(".")[2]), len(ref.path), ref.ref)
    )
    for ref in (*ranked[:6], *refs[:6]):
        yield Bind(node.id, problem.path, ref)
    yield from _values(node, problem.path, scene)


def _rank(ref: Ref, name: str, scene: _Scene) -> tuple[object, ...]:
    """Near names first, results that nobody reads, short ways, late steps."""
    tail = next((part for part in reversed(ref.path) if not part.isdigit()), ref.source)
    place = scene.order.sequence.index(ref.source) if ref.source in scene.order.sequence else -1
    return (-round(_likeness(tail, name), 1), ref.source in scene.read, len(ref.path), -place, ref.ref)


def _said(schema: Schema) -> list[object]:
    values = schema.get("enum")
    found = [schema[key] for key in ("default", "const") if key in schema]
    return [*found, *(values if isinstance(values, list) and len(values) == 1 else [])]


def _bound(node: Node, path: str) -> Argument | None:
    if path == "over" and node.kind == "map":
        return node.over
    if path == "value" and node.kind == "validator":
        return node.value
    holder, _, name = _holder(path)
    return (arguments_at(node, holder) or {}).get(name)


def _argument_of(node: Node, path: str, scene: _Scene) -> tuple[str, str, ToolSpec | None]:
    """Holder, name, and the tool that takes it."""
    holder, place, name = _holder(path)
    call = next((call for where, call in calls(node) if where == place), None)
    return (
        holder,
        name,
        scene.catalog.get(call.tool) if call is not None and holder.endswith("arguments") else None,
    )


def _holder(path: str) -> tuple[str, str, str]:
    """Holder, the place of its call, name."""
    for place in ("policy.recovery", "each", ""):
        holder = f"{place}.arguments" if place else "arguments"
        if path.startswith(f"{holder}."):
            return holder, place, path[len(holder) + 1 :]
    holder, _, name = path.partition("values.")
    return f"{holder}values", "", name


def _wanted(spec: ToolSpec | None, name: str) -> Schema | None:
    return property_schema(spec.input_schema, name) if spec is not None else {}


def _takes(spec: ToolSpec, name: str, argument: Argument) -> bool:
    """A literal's type fits; of a reference that is left to the check."""
    if isinstance(argument, Ref):
        return True
    kinds = allowed(property_schema(spec.input_schema, name) or {})
    values = (argument.value, *conversions(argument.value, kinds))
    return any(fits(frozenset({type_of(value)}), kinds) for value in values)


def _properties(schema: Schema) -> Mapping[str, object]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _likeness(one: str, other: str) -> float:
    """Of two names, by their letters and by their words."""
    mine, theirs = set(words(one)), set(words(other))
    shared = len(mine & theirs) / max(1, min(len(mine), len(theirs)))
    return max(_alike(one, other), shared)


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower(), autojunk=False).ratio()
