"""Arithmetic, comparison, membership, identity, boolean and unary operators replaced by their relatives."""

import ast
import re
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import atom, in_fstring, put
from evolve.mend.scope import Scope
from evolve.mend.source import Module, own_exprs

COMPARE: dict[type[ast.cmpop], tuple[tuple[str, float], ...]] = {
    ast.Lt: (("<=", 0.9), (">", 0.5), (">=", 0.45)),
    ast.LtE: (("<", 0.9), (">=", 0.5), (">", 0.45)),
    ast.Gt: ((">=", 0.9), ("<", 0.5), ("<=", 0.45)),
    ast.GtE: ((">", 0.9), ("<=", 0.5), ("<", 0.45)),
    ast.Eq: (("!=", 0.6), ("<=", 0.3), (">=", 0.3), ("is", 0.08), ("in", 0.15)),
    ast.NotEq: (("==", 0.6), ("<", 0.25), (">", 0.25), ("is not", 0.08), ("not in", 0.15)),
    ast.Is: (("is not", 0.6), ("==", 0.35)),
    ast.IsNot: (("is", 0.6), ("!=", 0.35)),
    ast.In: (("not in", 0.6), ("==", 0.15)),
    ast.NotIn: (("in", 0.6), ("!=", 0.15)),
}
TOKENS: dict[type[ast.AST], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: r"is\s+not",
    ast.In: "in",
    ast.NotIn: r"not\s+in",
    ast.Add: r"\+",
    ast.Sub: "-",
    ast.Mult: r"\*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: r"\*\*",
    ast.BitAnd: "&",
    ast.BitOr: r"\|",
    ast.BitXor: r"\^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.And: "and",
    ast.Or: "or",
}
ARITHMETIC: dict[type[ast.operator], tuple[tuple[str, float], ...]] = {
    ast.Add: (("-", 0.7), ("*", 0.3), ("|", 0.1)),
    ast.Sub: (("+", 0.7), ("*", 0.2), ("/", 0.15)),
    ast.Mult: (("/", 0.4), ("+", 0.4), ("**", 0.2), ("//", 0.2), ("-", 0.15)),
    ast.Div: (("//", 0.5), ("*", 0.5), ("-", 0.15)),
    ast.FloorDiv: (("/", 0.5), ("%", 0.4), ("*", 0.3)),
    ast.Mod: (("//", 0.5), ("*", 0.15)),
    ast.Pow: (("*", 0.5),),
    ast.BitAnd: (("|", 0.6), ("^", 0.2)),
    ast.BitOr: (("&", 0.6), ("^", 0.2)),
    ast.BitXor: (("|", 0.3), ("&", 0.3)),
    ast.LShift: ((">>", 0.6),),
    ast.RShift: (("<<", 0.6),),
}


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of every operator in the statement."""
    if isinstance(node, ast.AugAssign):
        yield from _augmented(module, node)
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        yield from _assigned(module, node)
    for expr in own_exprs(node):
        if in_fstring(module, expr) and not module.exact(expr):
            continue
        if isinstance(expr, ast.Compare):
            yield from _compare(module, expr)
        elif isinstance(expr, ast.BinOp):
            for text, prior in ARITHMETIC.get(type(expr.op), ()):
                yield from _between(module, expr.left, expr.right, expr.op, text, "symbol.arithmetic", prior)
            yield from _swapped(module, expr)
        elif isinstance(expr, ast.BoolOp):
            other = "or" if isinstance(expr.op, ast.And) else "and"
            for left, right in zip(expr.values, expr.values[1:], strict=False):
                yield from _between(module, left, right, expr.op, other, "symbol.boolean", 0.7)
        elif isinstance(expr, ast.UnaryOp):
            prior = 0.7 if isinstance(expr.op, ast.Not) else 0.5
            yield from put(module, expr, module.text(expr.operand), "symbol.unary", prior)


def _compare(module: Module, expr: ast.Compare) -> Iterator[Edit]:
    operands = [expr.left, *expr.comparators]
    for left, right, op in zip(operands, operands[1:], expr.ops, strict=False):
        for text, prior in COMPARE[type(op)]:
            yield from _between(module, left, right, op, text, "symbol.comparison", prior)


def _between(
    module: Module, left: ast.expr, right: ast.expr, op: ast.AST, text: str, operator: str, prior: float
) -> Iterator[Edit]:
    """Replace the operator's own token, which stands in the gap between two operands."""
    start, end = module.span(left)[1], module.span(right)[0]
    gap = module.data[start:end].decode("utf-8", "replace")
    token = TOKENS[type(op)]
    pattern = rf"\b{token}\b" if token[0].isalpha() else rf"(?<![<>=!*/&|]){token}(?![=<>*/])"
    found = None if "#" in gap else re.search(pattern, gap)
    if found is not None:
        spans = ((start + found.start(), start + found.end(), text),)
        yield Edit(module.path, left.end_lineno or left.lineno, operator, prior, spans)


def _swapped(module: Module, expr: ast.BinOp) -> Iterator[Edit]:
    """`a - b` -> `b - a` where the order counts."""
    if isinstance(expr.op, ast.Sub | ast.Div | ast.FloorDiv | ast.Mod | ast.Pow | ast.Add):
        left, right = module.text(expr.left), module.text(expr.right)
        if left != right and not isinstance(expr.left, ast.BinOp) and not isinstance(expr.right, ast.BinOp):
            spans = ((*module.span(expr.left), right), (*module.span(expr.right), left))
            prior = 0.12 if isinstance(expr.op, ast.Add) else 0.3
            yield Edit(module.path, expr.lineno, "symbol.operands", prior, spans)


def _augmented(module: Module, stmt: ast.AugAssign) -> Iterator[Edit]:
    start, end = module.span(stmt.target)[1], module.span(stmt.value)[0]
    gap = module.data[start:end].decode("utf-8", "replace")
    token = TOKENS[type(stmt.op)] + "="
    found = re.search(token, gap)
    if found is None:
        return
    where = (start + found.start(), start + found.end())
    for text, prior in (*((f"{t}=", p) for t, p in ARITHMETIC.get(type(stmt.op), ())), ("=", 0.4)):
        yield Edit(module.path, stmt.lineno, "symbol.augmented", prior, ((*where, text),))


def _assigned(module: Module, stmt: ast.Assign) -> Iterator[Edit]:
    """`x = v` -> `x += v`, `x = x or v`."""
    target = stmt.targets[0]
    if not isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
        return
    start, end = module.span(target)[1], module.span(stmt.value)[0]
    gap = module.data[start:end].decode("utf-8", "replace")
    if gap.strip() == "=":
        at = start + gap.index("=")
        yield Edit(module.path, stmt.lineno, "symbol.accumulate", 0.3, ((at, at + 1, "+="),))
    name = module.text(target)
    yield from put(module, stmt.value, f"{name} or {atom(module.text(stmt.value))}", "symbol.keep", 0.15)
