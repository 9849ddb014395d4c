"""Conditions negated, strengthened, weakened, halved, decided."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import put, tests_of
from evolve.mend.operators.guards import conditions, negated
from evolve.mend.scope import Scope
from evolve.mend.source import Module, own_exprs

LIMIT = 10


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of each condition that the statement decides by."""
    tests = list(tests_of(node))
    for test in tests:
        text = module.text(test)
        if "\n" in text and not isinstance(test, ast.BoolOp):
            continue
        yield from put(module, test, negated(text), "condition.negate", 0.65)
        yield from _decide(module, test)
        yield from _mined(module, node, test, scope, index)
        yield from _emptiness(module, test)
    for expr in own_exprs(node):
        if isinstance(expr, ast.BoolOp):
            yield from _halves(module, expr)
        elif isinstance(expr, ast.IfExp):
            yield from put(module, expr, module.text(expr.body), "condition.decide", 0.25, risk=0.4)
            yield from put(module, expr, module.text(expr.orelse), "condition.decide", 0.25, risk=0.4)
            body, other = module.text(expr.body), module.text(expr.orelse)
            new = f"{other} if {module.text(expr.test)} else {body}"
            yield from put(module, expr, new, "condition.negate", 0.4)
        elif isinstance(expr, ast.comprehension):
            continue


def _decide(module: Module, test: ast.expr) -> Iterator[Edit]:
    for text in ("True", "False"):
        yield from put(module, test, text, "condition.decide", 0.12, risk=0.7)


def _halves(module: Module, expr: ast.BoolOp) -> Iterator[Edit]:
    """One of the parts dropped."""
    word = " and " if isinstance(expr.op, ast.And) else " or "
    for value in expr.values:
        rest = [module.text(v) for v in expr.values if v is not value]
        if len(rest) == 1:
            yield from put(module, expr, rest[0], "condition.halve", 0.45, risk=0.3)
        else:
            yield from put(module, expr, word.join(rest), "condition.halve", 0.4, risk=0.3)


def _mined(module: Module, stmt: ast.stmt, test: ast.expr, scope: Scope, index: Index) -> Iterator[Edit]:
    """A conjunct or disjunct that the repository or the scope suggests; another condition in its place."""
    text = module.text(test)
    parts = {module.text(v) for v in test.values} if isinstance(test, ast.BoolOp) else {text}
    ranked = sorted(conditions(stmt, scope, index).items(), key=lambda item: (-item[1], item[0]))
    ranked = [r for r in ranked if r[0] not in parts][:LIMIT]
    is_and = isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And)
    is_or = isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or)
    for rank, (condition, weight) in enumerate(ranked):
        score = weight / (1 + 0.1 * rank)
        added = f"({condition})" if " or " in condition or " if " in condition else condition
        left = f"({text})" if is_or or isinstance(test, ast.IfExp) else text
        yield from put(module, test, f"{left} and {added}", "condition.strengthen", 0.45 * score)
        left = f"({text})" if is_and or isinstance(test, ast.IfExp) else text
        other = f"({condition})" if " and " in condition or " if " in condition else condition
        yield from put(module, test, f"{left} or {other}", "condition.weaken", 0.4 * score)
        yield from put(module, test, condition, "condition.replace", 0.3 * score)


def _emptiness(module: Module, test: ast.expr) -> Iterator[Edit]:
    """`if x` <-> `if x is not None`."""
    operand = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else None
    if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
        yield from put(module, test, f"{module.text(test)} is not None", "condition.none_check", 0.5)
    elif operand is not None:
        yield from put(module, test, f"{module.text(operand)} is None", "condition.none_check", 0.5)
    elif isinstance(test, ast.Compare) and len(test.ops) == 1:
        right = test.comparators[0]
        if isinstance(right, ast.Constant) and right.value is None:
            left = module.text(test.left)
            new = f"not {left}" if isinstance(test.ops[0], ast.Is) else left
            yield from put(module, test, new, "condition.none_check", 0.4)
