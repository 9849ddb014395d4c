"""Whole statements deleted, doubled, swapped with their neighbours, moved within their block."""

import ast
from collections.abc import Iterator, Sequence

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import lines_edit
from evolve.mend.scope import Scope
from evolve.mend.source import FunctionNode, Module, is_docstring

REACH = 5


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of the statement as a whole."""
    if isinstance(node, ast.Import | ast.ImportFrom | FunctionNode | ast.ClassDef) or is_docstring(node):
        return
    yield from _delete(module, node)
    yield from _move(module, node)
    yield from _keyword(module, node)
    if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.AsyncWith | ast.AsyncFor | ast.Try):
        yield from _unwrap(module, node)


def removal(module: Module, stmt: ast.stmt) -> tuple[int, int, str] | None:
    """The span that takes a statement out, `pass` left behind where the block would be empty."""
    lines = module.lines(stmt)
    if lines is None:
        return None
    place = module.places[stmt]
    left = f"{module.indent(stmt)}pass{module.newline}" if len(place.block) == 1 else ""
    return (*lines, left)


def _delete(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    span = removal(module, stmt)
    if span is None or isinstance(stmt, ast.Pass):
        return
    guard = isinstance(stmt, ast.If | ast.Raise | ast.Assert | ast.Try | ast.With | ast.AsyncWith)
    prior = 0.2 if guard else 0.4
    if (
        isinstance(stmt, ast.If)
        and len(stmt.body) == 1
        and isinstance(stmt.body[0], ast.Return | ast.Continue)
    ):
        prior = 0.35  # an early exit too many
    yield from lines_edit(module, stmt, [span], "statement.delete", prior, risk=0.8 if guard else 0.4)
    if isinstance(stmt, ast.If) and stmt.orelse:
        last_if, first_else = stmt.body[-1], stmt.orelse[0]
        above, below = module.lines(last_if), module.lines(stmt.orelse[-1])
        if above and below and first_else.lineno > (last_if.end_lineno or 0):
            spans = [(above[1], below[1], "")]
            yield from lines_edit(module, stmt, spans, "statement.delete_else", 0.15, risk=0.6)


def _move(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """Up and down within the block; one step is a swap of neighbours."""
    place, own = module.places[stmt], module.lines(stmt)
    if own is None:
        return
    text = module.block_text(stmt, module.indent(stmt))
    if text is None:
        return
    for distance in range(1, REACH + 1):
        for target, after in ((place.position - distance, False), (place.position + distance, True)):
            if not 0 <= target < len(place.block) or is_docstring(place.block[target]):
                continue
            low, high = sorted((target, place.position))
            crossed = place.block[low : high + 1]
            cut = 1 if after else -1
            prior = _order_prior(crossed[:cut], crossed[cut:]) / (1 + 0.25 * (distance - 1))
            other = module.lines(place.block[target])
            if other is not None and module.data[: other[1]].endswith(b"\n"):
                at = other[1] if after else other[0]
                if distance == 1 and after:
                    continue  # the neighbour's move up is the same
                spans = [(*own, ""), (at, at, text)]
                operator = "statement.swap" if distance == 1 else "statement.move"
                yield from lines_edit(module, stmt, spans, operator, prior)
    if isinstance(stmt, ast.Expr | ast.AugAssign) and module.data[: own[1]].endswith(b"\n"):
        yield from lines_edit(module, stmt, [(own[1], own[1], text)], "statement.double", 0.08)


def _order_prior(first: Sequence[ast.stmt], second: Sequence[ast.stmt]) -> float:
    """Of an edit that lets `second` run before `first`. What is used and only then replaced stands too late; what needs
    the other's result does not."""
    reads, writes = _names(first, ast.Load), _names(first, ast.Store)
    if writes & _names(second, ast.Load):
        return 0.25
    return 0.7 if reads & _names(second, ast.Store) else 0.4


def _names(statements: Sequence[ast.stmt], context: type[ast.expr_context]) -> set[str]:
    nodes = (node for stmt in statements for node in ast.walk(stmt))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


def _unwrap(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """A compound statement replaced by its body."""
    body = getattr(stmt, "body", [])
    lines = module.lines(stmt)
    texts = [module.block_text(inner, module.indent(stmt)) for inner in body]
    if lines is not None and all(texts):
        risk = 0.7 if isinstance(stmt, ast.If) else 0.5
        text = "".join(t for t in texts if t)
        yield from lines_edit(module, stmt, [(*lines, text)], "statement.unwrap", 0.2, risk=risk)


def _keyword(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """`elif` <-> `if`, `if` <-> `while`."""
    if not isinstance(stmt, ast.If | ast.While):
        return
    start = module.span(stmt)[0]
    head = next(w for w in ("elif", "if", "while") if module.data[start:].startswith(w.encode()))
    place = module.places[stmt]
    before = place.block[place.position - 1] if place.position else None
    options = {"elif": [("if", 0.4)], "while": [("if", 0.3)], "if": [("while", 0.15)]}[head]
    if head == "if" and isinstance(before, ast.If) and not before.orelse:
        options.append(("elif", 0.4))
    for word, prior in options:
        yield from lines_edit(module, stmt, [(start, start + len(head), word)], "statement.keyword", prior)
