"""The operator families. Each proposes edits of one statement; none knows anything of any program."""

import ast
from collections.abc import Callable, Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators import (
    arguments,
    awaits,
    conditions,
    constants,
    donors,
    exceptions,
    guards,
    iteration,
    moves,
    names,
    results,
    state,
    statements,
    symbols,
    wrapping,
)
from evolve.mend.scope import Scope
from evolve.mend.source import Module

Family = Callable[[Module, ast.stmt, Scope, Index], Iterator[Edit]]
FAMILIES: tuple[Family, ...] = tuple(
    family.propose
    for family in (
        symbols, constants, names, arguments, conditions, wrapping, iteration, statements, moves, guards,
        donors, results, exceptions, state, awaits,
    )
)  # fmt: skip


def edits_of(module: Module, stmt: ast.stmt, index: Index) -> list[Edit]:
    """Every edit of one statement, the likeliest first, doubles by text removed."""
    scope = Scope(module, stmt)
    found: dict[tuple[tuple[int, int, str], ...], Edit] = {}
    for propose in FAMILIES:
        for edit in propose(module, stmt, scope, index):
            known = found.get(edit.spans)
            if known is None or edit.prior > known.prior:
                found[edit.spans] = edit
    return sorted(found.values(), key=lambda e: (-e.prior, e.size(), e.key()))
