"""Seeded faults, written without a look at the repair operators: what hurried people get wrong.

A mutator lists the places in one function where its kind of fault fits; the seed picks the order in which they are
tried. Works on the syntax tree alone; the faulty module is printed anew from it.
"""

import ast
import copy
import random
from collections.abc import Callable, Iterator
from itertools import pairwise

Apply = Callable[[ast.AST], None]
"""Changes a fresh copy of the function in place; the node that it gets is the one at the same walk position."""
KINDS: dict[str, Callable[[ast.AST], Iterator[Apply]]] = {}


def kind(function: Callable[[ast.AST], Iterator[Apply]]) -> Callable[[ast.AST], Iterator[Apply]]:
    KINDS[function.__name__] = function
    return function


def mutants(source: str, function: str, name: str, seed: int) -> Iterator[str]:
    """Faulty versions of a module's source, in the order that the seed gives."""
    tree = ast.parse(source)
    target = find(tree, function)
    options = [
        (position, number)
        for position, node in enumerate(ast.walk(target))
        for number, _ in enumerate(KINDS[name](node))
    ]
    random.Random(f"{function}/{name}/{seed}").shuffle(options)
    for position, number in options:
        fresh = copy.deepcopy(tree)
        node = list(ast.walk(find(fresh, function)))[position]
        list(KINDS[name](node))[number](node)
        yield ast.unparse(ast.fix_missing_locations(fresh)) + "\n"


def find(tree: ast.Module, qualified: str) -> ast.AST:
    """The function `name` or `Class.name` of a module (its last definition). Raises LookupError."""
    found: ast.AST = tree
    for part in qualified.split("."):
        inner = [n for n in ast.walk(found) if getattr(n, "name", None) == part and n is not found]
        if not inner:
            raise LookupError(qualified)
        found = inner[-1]
    return found


@kind
def boundary(node: ast.AST) -> Iterator[Apply]:
    """An inequality that includes its bound and should not, or the other way round."""
    turned = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            if type(op) in turned:
                yield lambda n, place=place, op=op: n.ops.__setitem__(place, turned[type(op)]())


@kind
def opposite(node: ast.AST) -> Iterator[Apply]:
    """The branches of a decision exchanged."""
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))


@kind
def miscount(node: ast.AST) -> Iterator[Apply]:
    """A number one too large or too small."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield lambda n: setattr(n, "value", n.value + 1)
        yield lambda n: setattr(n, "value", n.value - 1)


@kind
def wrong_sign(node: ast.AST) -> Iterator[Apply]:
    """Addition for subtraction, multiplication for division."""
    turned = {
        ast.Add: ast.Sub,
        ast.Sub: ast.Add,
        ast.Mult: ast.FloorDiv,
        ast.FloorDiv: ast.Mult,
        ast.Div: ast.Mult,
    }
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in turned:
        yield lambda n: setattr(n, "op", turned[type(n.op)]())


@kind
def forgotten_line(node: ast.AST) -> Iterator[Apply]:
    """A simple statement that was never written."""
    for block in ("body", "orelse"):
        lines = getattr(node, block, None)
        if isinstance(lines, list):
            for place, line in enumerate(lines):
                docstring = isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
                if isinstance(line, ast.Expr | ast.AugAssign | ast.Assign) and not docstring:
                    yield lambda n, b=block, p=place: getattr(n, b).__setitem__(p, ast.Pass())


@kind
def forgotten_check(node: ast.AST) -> Iterator[Apply]:
    """A guard that leaves early and was never written."""
    lines = getattr(node, "body", None)
    if isinstance(lines, list):
        for place, line in enumerate(lines):
            leaves = ast.Return | ast.Raise | ast.Continue | ast.Break
            if isinstance(line, ast.If) and not line.orelse and isinstance(line.body[-1], leaves):
                yield lambda n, p=place: n.body.__setitem__(p, ast.Pass())


@kind
def forgotten_half(node: ast.AST) -> Iterator[Apply]:
    """A case of a compound condition that was not thought of."""
    if isinstance(node, ast.BoolOp):
        for place in range(len(node.values)):
            yield lambda n, p=place: n.values.__setitem__(p, ast.Constant(isinstance(n.op, ast.And)))


@kind
def mixed_up_names(node: ast.AST) -> Iterator[Apply]:
    """One variable of the function written where another is meant."""
    if isinstance(node, ast.FunctionDef):
        reads = [
            n
            for s in node.body
            for n in ast.walk(s)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        ]
        bound = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)} - {"self", "cls"}
        bound |= {
            n.id
            for s in node.body
            for n in ast.walk(s)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        for place, read in enumerate(reads):
            for other in sorted(bound - {read.id}) if read.id in bound else ():
                yield lambda n, p=place, o=other: setattr(
                    [
                        r
                        for s in n.body
                        for r in ast.walk(s)
                        if isinstance(r, ast.Name) and isinstance(r.ctx, ast.Load)
                    ][p],
                    "id",
                    o,
                )


@kind
def swapped_arguments(node: ast.AST) -> Iterator[Apply]:
    """Two arguments of a call in the wrong order."""
    if isinstance(node, ast.Call) and len(node.args) == 2:
        yield lambda n: n.args.reverse()


@kind
def forgotten_argument(node: ast.AST) -> Iterator[Apply]:
    """An optional argument that was not passed on."""
    if isinstance(node, ast.Call):
        for place in range(len(node.keywords)):
            yield lambda n, p=place: n.keywords.pop(p)
        if len(node.args) > 1:
            yield lambda n: n.args.pop()


@kind
def forgotten_conversion(node: ast.AST) -> Iterator[Apply]:
    """A conversion or a cleaning call left out."""
    for name, value in ast.iter_fields(node):
        for place, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, ast.Call) and not isinstance(node, ast.Expr):
                inner = item.args[0] if len(item.args) == 1 and isinstance(item.func, ast.Name) else None
                if isinstance(item.func, ast.Attribute) and not item.args:
                    inner = item.func.value
                if inner is not None:
                    listed = isinstance(value, list)
                    yield (
                        lambda n, f=name, p=place, i=inner, many=listed: (
                            getattr(n, f).__setitem__(p, i) if many else setattr(n, f, i)
                        )
                    )


@kind
def wrong_order(node: ast.AST) -> Iterator[Apply]:
    """Two neighbouring statements exchanged."""
    lines = getattr(node, "body", None)
    if isinstance(lines, list):
        for place, (one, two) in enumerate(pairwise(lines)):
            simple = ast.Assign | ast.AugAssign | ast.Expr | ast.If
            if isinstance(one, simple) and isinstance(two, simple):
                yield lambda n, p=place: n.body.__setitem__(slice(p, p + 2), [n.body[p + 1], n.body[p]])


@kind
def wrong_nesting(node: ast.AST) -> Iterator[Apply]:
    """The line behind a block indented into it."""
    lines = getattr(node, "body", None)
    if isinstance(lines, list):
        for place, (one, two) in enumerate(pairwise(lines)):
            if isinstance(one, ast.For | ast.While | ast.If) and isinstance(
                two, ast.Assign | ast.AugAssign | ast.Expr
            ):
                yield lambda n, p=place: n.body[p].body.append(n.body.pop(p + 1))


@kind
def too_early(node: ast.AST) -> Iterator[Apply]:
    """A loop that ends after its first turn."""
    if isinstance(node, ast.For | ast.While) and not isinstance(
        node.body[-1], ast.Return | ast.Break | ast.Continue
    ):
        yield lambda n: n.body.append(ast.Break())


@kind
def cut_short(node: ast.AST) -> Iterator[Apply]:
    """A slice with one of its bounds missing."""
    if isinstance(node, ast.Slice):
        if node.lower is not None:
            yield lambda n: setattr(n, "lower", None)
        if node.upper is not None:
            yield lambda n: setattr(n, "upper", None)


@kind
def wrong_default(node: ast.AST) -> Iterator[Apply]:
    """A default that is not what callers count on."""
    if isinstance(node, ast.arguments):
        for field in ("defaults", "kw_defaults"):
            for place, value in enumerate(getattr(node, field)):
                if isinstance(value, ast.Constant) and isinstance(value.value, bool):
                    yield lambda n, f=field, p=place, v=value.value: getattr(n, f).__setitem__(
                        p, ast.Constant(not v)
                    )
                elif isinstance(value, ast.Constant) and value.value is not None:
                    yield lambda n, f=field, p=place: getattr(n, f).__setitem__(p, ast.Constant(None))


@kind
def wrong_word(node: ast.AST) -> Iterator[Apply]:
    """One short text constant for another of the same function."""
    if isinstance(node, ast.FunctionDef):
        words = [
            n for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value
        ]
        words = [w for w in words if len(w.value) < 20]
        for place, word in enumerate(words):
            for other in sorted({w.value for w in words} - {word.value}):
                yield lambda n, p=place, o=other: setattr(
                    [
                        w
                        for w in ast.walk(n)
                        if isinstance(w, ast.Constant) and isinstance(w.value, str) and 0 < len(w.value) < 20
                    ][p],
                    "value",
                    o,
                )
