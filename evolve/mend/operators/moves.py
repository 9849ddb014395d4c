"""Statements carried across the border of an if, with, for, while or try."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import lines_edit, step
from evolve.mend.operators.statements import removal
from evolve.mend.scope import Scope
from evolve.mend.source import FunctionNode, Module, is_docstring

COMPOUND = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Out of the block around, into the neighbours' blocks, and under a new `finally`."""
    if isinstance(node, ast.Import | ast.ImportFrom | FunctionNode | ast.ClassDef) or is_docstring(node):
        return
    yield from _out(module, node)
    yield from _into_next(module, node)
    yield from _into_previous(module, node)
    yield from _into_finally(module, node)


def _carry(module: Module, stmt: ast.stmt, at: int, indent: str, name: str, prior: float) -> Iterator[Edit]:
    text, away = module.block_text(stmt, indent), removal(module, stmt)
    if text is None or away is None or (at and not module.data[:at].endswith(b"\n")):
        return
    if away[0] < at < away[1]:
        return
    yield from lines_edit(module, stmt, [away, (at, at, text)], name, prior)


def _out(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """Behind the statement around (from anywhere in it, the last first), or in front of it."""
    place = module.places[stmt]
    around: ast.AST = place.owner
    if isinstance(around, ast.ExceptHandler):
        around = module.parents[around]
    if not isinstance(around, COMPOUND):
        return
    lines = module.lines(around)
    if lines is None:
        return
    indent = module.indent(around)
    last = place.position == len(place.block) - 1
    first = place.position == 0
    yield from _carry(module, stmt, lines[1], indent, "move.out_after", 0.45 if last else 0.3)
    yield from _carry(module, stmt, lines[0], indent, "move.out_before", 0.4 if first else 0.25)
    if last:
        yield from _dedent_tail(module, stmt, around, lines[1])


def _dedent_tail(module: Module, stmt: ast.stmt, around: ast.stmt, at: int) -> Iterator[Edit]:
    """The last two statements of a block together, behind it."""
    place = module.places[stmt]
    if place.position < 2:
        return
    pair = place.block[-2:]
    texts = [module.block_text(s, module.indent(around)) for s in pair]
    first, last = module.lines(pair[0]), module.lines(pair[1])
    if first and last and all(texts) and module.data[:at].endswith(b"\n"):
        spans = [(first[0], last[1], ""), (at, at, "".join(t for t in texts if t))]
        yield from lines_edit(module, stmt, spans, "move.out_after", 0.25)


def _blocks(stmt: ast.stmt) -> Iterator[tuple[str, list[ast.stmt]]]:
    for part in ("body", "orelse", "finalbody"):
        block = getattr(stmt, part, [])
        if block:
            yield part, block
    for handler in getattr(stmt, "handlers", []):
        yield "handler", handler.body


def _into_next(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """To the top of a block of the compound statement that follows (or of one further down)."""
    place = module.places[stmt]
    for distance, follower in enumerate(place.block[place.position + 1 : place.position + 4]):
        if not isinstance(follower, COMPOUND):
            continue
        for part, block in _blocks(follower):
            lines = module.lines(block[0])
            if lines is not None and block[0].lineno > follower.lineno:
                prior = (0.4 if part == "body" else 0.2) / (1 + distance)
                yield from _carry(module, stmt, lines[0], module.indent(block[0]), "move.into_next", prior)


def _into_previous(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """To the end of a block of the compound statement in front."""
    place = module.places[stmt]
    before = place.block[max(0, place.position - 3) : place.position]
    for distance, leader in enumerate(reversed(before)):
        if not isinstance(leader, COMPOUND):
            continue
        for part, block in _blocks(leader):
            lines = module.lines(block[-1])
            if lines is not None and block[-1].lineno > leader.lineno:
                prior = (0.4 if part in ("body", "finalbody") else 0.2) / (1 + distance)
                yield from _carry(
                    module, stmt, lines[1], module.indent(block[-1]), "move.into_previous", prior
                )
                if distance == 0 and part == "body":
                    yield from _with_next(module, stmt, lines[1], module.indent(block[-1]))


def _with_next(module: Module, stmt: ast.stmt, at: int, indent: str) -> Iterator[Edit]:
    """Two, three, … statements behind a block together into its end."""
    place = module.places[stmt]
    for count in (2, 3, 4):
        group = place.block[place.position : place.position + count]
        if len(group) < count:
            return
        texts = [module.block_text(s, indent) for s in group]
        first, last = module.lines(group[0]), module.lines(group[-1])
        if first and last and all(texts):
            spans = [(at, at, "".join(t for t in texts if t)), (first[0], last[1], "")]
            yield from lines_edit(module, stmt, spans, "move.into_previous", 0.3 / count)


def _into_finally(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """`a; b; cleanup` -> `try: a; b` `finally: cleanup`, for one to four statements in front."""
    place, own = module.places[stmt], module.lines(stmt)
    if own is None or not isinstance(stmt, ast.Expr | ast.Assign | ast.Delete | ast.AugAssign):
        return
    indent, level = module.indent(stmt), step(module)
    for count in range(1, 5):
        group = place.block[max(0, place.position - count) : place.position]
        if len(group) < count or any(is_docstring(s) for s in group):
            return
        first = module.lines(group[0])
        texts = [module.block_text(s, indent + level) for s in (*group, stmt)]
        if first is None or not all(texts) or isinstance(group[-1], ast.Try):
            return
        *tried, last = [t for t in texts if t]
        end = module.newline
        text = f"{indent}try:{end}{''.join(tried)}{indent}finally:{end}{last}"
        yield from lines_edit(module, stmt, [(first[0], own[1], text)], "move.into_finally", 0.25 / count)
