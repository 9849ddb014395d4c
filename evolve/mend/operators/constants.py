"""Constants moved by one, emptied, or replaced by others that the module uses."""

import ast
from collections import Counter
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import put
from evolve.mend.scope import Scope
from evolve.mend.source import Module, is_docstring, own_exprs


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of every constant in the statement, and ±1 on what bounds things."""
    if is_docstring(node):
        return
    for expr in own_exprs(node):
        if isinstance(expr, ast.Constant) and not isinstance(module.parents.get(expr), ast.JoinedStr):
            yield from _constant(module, expr, index)
        else:
            yield from _plus_minus(module, expr)


def _constant(module: Module, expr: ast.Constant, index: Index) -> Iterator[Edit]:
    value = expr.value
    if isinstance(value, bool):
        yield from put(module, expr, str(not value), "constant.boolean", 0.8)
        yield from put(module, expr, "None", "constant.none", 0.2)
    elif isinstance(value, int):
        yield from _integer(module, expr, value)
    elif isinstance(value, float):
        for text, prior in ((repr(value + 1), 0.2), (repr(-value), 0.3), ("0.0", 0.3), ("1.0", 0.3)):
            yield from put(module, expr, text, "constant.number", prior)
    elif isinstance(value, str):
        yield from _string(module, expr, value)
    elif value is None:
        for text, prior in (
            ("0", 0.2),
            ('""', 0.2),
            ("[]", 0.2),
            ("{}", 0.2),
            ("False", 0.25),
            ("True", 0.2),
        ):
            yield from put(module, expr, text, "constant.none", prior)
    yield from _mined(module, expr, index)


def _integer(module: Module, expr: ast.Constant, value: int) -> Iterator[Edit]:
    done = {value}
    choices = [(value + 1, 0.65), (value - 1, 0.65), (0, 0.4), (1, 0.4), (-1, 0.25), (-value, 0.3)]
    choices += [(2 * value, 0.15), (value // 2, 0.12), (value * 10, 0.12)]
    for number, prior in choices:
        if number not in done:
            done.add(number)
            yield from put(module, expr, str(number), "constant.number", prior)
    yield from put(module, expr, "None", "constant.none", 0.2)


def _string(module: Module, expr: ast.Constant, value: str) -> Iterator[Edit]:
    quote = module.text(expr)[-1]
    if "\n" in value or quote not in "\"'" or isinstance(module.parents.get(expr), ast.JoinedStr):
        return
    variants = [("", 0.25), (value.strip(), 0.3), (value.lower(), 0.25), (value.upper(), 0.2)]
    variants += [(value + " ", 0.12), (" ", 0.1), ("\n", 0.12), (value.capitalize(), 0.1), (value[1:], 0.2)]
    variants += [(value[:-1], 0.2), (value[::-1], 0.05)]
    done = {value}
    for text, prior in variants:
        if text not in done:
            done.add(text)
            yield from put(module, expr, repr(text), "constant.string", prior)
    yield from put(module, expr, "None", "constant.none", 0.12)


def _mined(module: Module, expr: ast.Constant, index: Index) -> Iterator[Edit]:
    """Other constants of the same type, those first that are compared with or used for the same thing."""
    kind = type(expr.value).__name__
    if kind in ("bool", "NoneType", "ellipsis"):
        return
    known = index.constants.get((module.path, kind)) or Counter[str]()
    alike = _same_place(module, expr)
    ranked = sorted(known, key=lambda text: (text not in alike, -known[text], text))
    for rank, text in enumerate(ranked[:16]):
        if text != repr(expr.value):
            base = 0.4 if text in alike else 0.2
            yield from put(module, expr, text, "constant.other", base / (1 + 0.15 * rank))


def _same_place(module: Module, expr: ast.Constant) -> set[str]:
    """Constants that stand in the same kind of place: compared, or passed to the same callee."""
    parent = module.parents.get(expr)
    found: set[str] = set()
    for node in module.nodes:
        same = type(node) is type(parent)
        if same and isinstance(node, ast.Compare) and isinstance(parent, ast.Compare):
            same = ast.dump(node.left) == ast.dump(parent.left)
        elif same and isinstance(node, ast.Call) and isinstance(parent, ast.Call):
            same = ast.dump(node.func) == ast.dump(parent.func)
        elif same and isinstance(node, ast.keyword) and isinstance(parent, ast.keyword):
            same = node.arg == parent.arg
        else:
            same = same and isinstance(node, ast.Dict | ast.Return | ast.Set | ast.Tuple)
        if same and node is not parent:
            found |= {repr(c.value) for c in ast.iter_child_nodes(node) if isinstance(c, ast.Constant)}
    return found


def _plus_minus(module: Module, expr: ast.expr) -> Iterator[Edit]:
    """`f(n)` -> `f(n + 1)` for arguments of range and bounds of slices and comparisons; `n + 1` -> `n`."""
    parent = module.parents.get(expr)
    text = module.text(expr)
    if isinstance(expr, ast.BinOp) and isinstance(
        expr.op, ast.Add | ast.Sub | ast.Mult | ast.FloorDiv | ast.Mod
    ):
        prior = 0.5 if isinstance(expr.right, ast.Constant) else 0.3
        yield from put(module, expr, module.text(expr.left), "constant.drop_operand", prior)
        yield from put(module, expr, module.text(expr.right), "constant.drop_operand", 0.15)
        return
    if isinstance(expr, ast.Constant | ast.UnaryOp) or isinstance(parent, ast.JoinedStr | ast.FormattedValue):
        return
    in_range = (
        isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and parent.func.id == "range"
    )
    bound = isinstance(parent, ast.Slice) or (isinstance(parent, ast.Subscript) and parent.slice is expr)
    bound = bound and not isinstance(expr, ast.Slice | ast.Tuple)
    value = isinstance(parent, ast.Return | ast.Compare | ast.Assign) and isinstance(
        expr, ast.Name | ast.Call
    )
    value = value and isinstance(expr, ast.expr) and not isinstance(getattr(expr, "ctx", None), ast.Store)
    if (in_range and expr in getattr(parent, "args", [])) or bound or value:
        prior = 0.4 if in_range or bound else 0.15
        for sign in ("+", "-"):
            yield from put(module, expr, f"{text} {sign} 1", "constant.off_by_one", prior)
