"""Expressions wrapped in a conversion or a copy, and such wrappers taken off."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import atom, in_fstring, put
from evolve.mend.scope import Scope
from evolve.mend.source import FunctionNode, Module, own_exprs

WRAPPERS = (
    "list", "dict", "tuple", "set", "sorted", "str", "int", "len", "float", "abs", "bool", "reversed", "iter",
    "frozenset", "sum", "max", "min", "repr", "round", "enumerate", "type", "next",
)  # fmt: skip
METHODS = (
    "strip",
    "copy",
    "lower",
    "upper",
    "items",
    "values",
    "keys",
    "encode",
    "decode",
    "rstrip",
    "lstrip",
)
COPIES = (("list({})", 0.3), ("dict({})", 0.35), ("{}.copy()", 0.3), ("set({})", 0.12), ("tuple({})", 0.12))
CONVERSIONS = (
    ("str({})", 0.2), ("int({})", 0.2), ("float({})", 0.1), ("len({})", 0.2), ("sorted({})", 0.25),
    ("bool({})", 0.1),
    ("abs({})", 0.2), ("{}.strip()", 0.18), ("{}.lower()", 0.15), ("repr({})", 0.1), ("list({})", 0.2),
    ("reversed({})", 0.12), ("not {}", 0.1), ("-{}", 0.15),
)  # fmt: skip


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Wrappers on and off in the statement."""
    if isinstance(node, ast.Import | ast.ImportFrom | FunctionNode | ast.ClassDef):
        return
    for expr in own_exprs(node):
        if isinstance(expr, ast.Call):
            yield from _unwrap(module, expr)
        if isinstance(expr, ast.Name | ast.Attribute | ast.Subscript | ast.Call) and _is_value(module, expr):
            yield from _wrap(module, expr)


def _unwrap(module: Module, call: ast.Call) -> Iterator[Edit]:
    func = call.func
    if isinstance(func, ast.Name) and func.id in WRAPPERS and call.args:
        prior = 0.4 if len(call.args) == 1 and not call.keywords else 0.2
        yield from put(module, call, module.text(call.args[0]), "wrap.remove", prior)
    elif isinstance(func, ast.Attribute):
        prior = 0.35 if func.attr in METHODS else 0.12
        if not isinstance(module.parents.get(call), ast.Expr | ast.Await):
            yield from put(module, call, module.text(func.value), "wrap.remove_method", prior)
        if func.attr in ("copy", "deepcopy") and call.args:
            yield from put(module, call, module.text(call.args[0]), "wrap.remove", 0.35)


def _is_value(module: Module, expr: ast.expr) -> bool:
    """Only whole operands: not the `a` of `a.b`, not what is called or stored to."""
    parent = module.parents.get(expr)
    if isinstance(getattr(expr, "ctx", None), ast.Store | ast.Del) or isinstance(
        parent, ast.Expr | ast.Await
    ):
        return False
    if isinstance(parent, ast.Attribute | ast.FormattedValue | ast.Starred | ast.alias | ast.Raise):
        return False
    if isinstance(parent, ast.Subscript) and parent.value is expr:
        return False
    return not (isinstance(parent, ast.Call) and parent.func is expr) and not in_fstring(module, expr)


def _wrap(module: Module, expr: ast.expr) -> Iterator[Edit]:
    parent = module.parents.get(expr)
    text = module.text(expr)
    kept = isinstance(parent, ast.Assign | ast.Return | ast.keyword | ast.Dict | ast.Yield | ast.AnnAssign)
    iterated = isinstance(parent, ast.For | ast.AsyncFor | ast.comprehension)
    passed = isinstance(parent, ast.Call)
    if kept or iterated or passed:
        factor = 1.0 if kept or iterated else 0.6
        for pattern, prior in COPIES:
            filled = pattern.format(text if "(" in pattern[:6] else atom(text))
            yield from put(module, expr, filled, "wrap.copy", prior * factor)
        yield from put(module, expr, f"[{text}]", "wrap.list", 0.1)
    outer = parent.func.id if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) else ""
    for pattern, prior in CONVERSIONS:
        name = pattern.split("(")[0]
        if name != outer and not (isinstance(expr, ast.Call) and text.startswith(f"{name}(")):
            yield from put(module, expr, pattern.format(atom(text)), "wrap.convert", prior)
