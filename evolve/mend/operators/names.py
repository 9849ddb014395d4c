"""Names, attributes and keys replaced by others that are used alike."""

import ast
from collections import Counter
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index, dotted, last_name, likeness
from evolve.mend.operators.common import put
from evolve.mend.scope import Scope
from evolve.mend.source import Module, own_exprs

LIMIT = 10


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of every name, attribute and constant key that the statement reads, and of what it assigns to."""
    for expr in own_exprs(node):
        if isinstance(expr, ast.Name | ast.Attribute):
            yield from _variable(module, expr, scope, index)
        if isinstance(expr, ast.Attribute):
            yield from _attribute(module, expr, scope, index)
        elif isinstance(expr, ast.Subscript) and isinstance(expr.slice, ast.Constant):
            yield from _key(module, expr.value, expr.slice, index)
        elif isinstance(expr, ast.Call) and isinstance(expr.func, ast.Attribute):
            key = expr.args[0] if expr.args else None
            if expr.func.attr in ("get", "pop", "setdefault") and isinstance(key, ast.Constant):
                yield from _key(module, expr.func.value, key, index)


def _variable(module: Module, expr: ast.Name | ast.Attribute, scope: Scope, index: Index) -> Iterator[Edit]:
    name = dotted(expr)
    parent = module.parents.get(expr)
    called = isinstance(parent, ast.Call) and parent.func is expr
    if name is None or name == scope.self_name or called or name in ("True", "False"):
        return
    if isinstance(expr, ast.Attribute) and name.split(".")[0] != scope.self_name:
        return
    if name in scope.imported or name in scope.module_callables or _is_base(module, expr):
        return
    store = isinstance(expr.ctx, ast.Store)
    ranked = sorted(
        (-likeness(index, module.path, name, other), position, other)
        for position, other in enumerate(scope.variables)
        if other != name
    )
    for rank, (score, _, other) in enumerate(ranked[:LIMIT]):
        prior = (0.35 + 0.35 * -score) / (1 + 0.12 * rank)
        yield from put(module, expr, other, "name.variable", prior * (0.4 if store else 1.0))


def _is_base(module: Module, expr: ast.expr) -> bool:
    """The `a` of `a.b` when `a` is a name that no other could stand for."""
    return isinstance(module.parents.get(expr), ast.FormattedValue) and isinstance(expr, ast.Attribute)


def _attribute(module: Module, expr: ast.Attribute, scope: Scope, index: Index) -> Iterator[Edit]:
    base = last_name(expr.value)
    known = index.attributes.get(base) or Counter[str]()
    parent = module.parents.get(expr)
    called = isinstance(parent, ast.Call) and parent.func is expr
    if base == scope.self_name and not called:
        return  # attributes of the instance are variables, handled there
    ranked = sorted((-_words(expr.attr, a), -known[a], a) for a in known if a != expr.attr)
    value = module.text(expr.value)
    for rank, (score, _, attr) in enumerate(ranked[:LIMIT]):
        prior = (0.3 + 0.3 * -score) / (1 + 0.15 * rank)
        yield from put(module, expr, f"{value}.{attr}", "name.attribute", prior)


def _key(module: Module, owner: ast.expr, key: ast.Constant, index: Index) -> Iterator[Edit]:
    known = index.keys.get(last_name(owner)) or Counter[str]()
    ranked = sorted((-_words(str(key.value), k), -known[k], k) for k in known if k != repr(key.value))
    for rank, (score, _, text) in enumerate(ranked[:LIMIT]):
        yield from put(module, key, text, "name.key", (0.4 + 0.3 * -score) / (1 + 0.15 * rank))


def _words(left: str, right: str) -> float:
    a, b = set(left.strip("'_").lower().split("_")), set(right.strip("'_").lower().split("_"))
    return len(a & b) / len(a | b) if a | b else 0.0
