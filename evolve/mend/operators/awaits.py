"""Waiting: awaits put in, taken off, gathered, shielded."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index, last_name
from evolve.mend.operators.common import put
from evolve.mend.scope import Scope
from evolve.mend.source import FunctionNode, Module, own_exprs


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of calls that can be waited for."""
    if not scope.is_async or isinstance(node, FunctionNode | ast.ClassDef):
        return
    for expr in own_exprs(node):
        parent = module.parents.get(expr)
        if isinstance(expr, ast.Await):
            yield from _awaited(module, expr)
        elif isinstance(expr, ast.Call) and not isinstance(parent, ast.Await):
            known = index.signatures.get(last_name(expr.func), [])
            prior = 0.8 if any(s.is_async for s in known) else 0.05 if known else 0.2
            yield from put(module, expr, f"await {module.text(expr)}", "await.add", prior)
        elif (
            isinstance(expr, ast.Name)
            and isinstance(parent, ast.Return | ast.Assign)
            and parent.value is expr
        ):
            yield from put(module, expr, f"await {module.text(expr)}", "await.add", 0.12)
    yield from _kinds(module, node)


def _awaited(module: Module, expr: ast.Await) -> Iterator[Edit]:
    text = module.text(expr.value)
    yield from put(module, expr, text, "await.remove", 0.2)
    yield from put(module, expr.value, f"asyncio.shield({text})", "await.shield", 0.12)
    if isinstance(expr.value, ast.Call) and last_name(expr.value.func) == "gather":
        kept = [k for k in expr.value.keywords if k.arg != "return_exceptions"]
        values: list[ast.expr | ast.keyword] = [*expr.value.args, *kept]
        parts = [module.text(p) for p in values]
        if len(kept) == len(expr.value.keywords):
            parts.append("return_exceptions=True")
        new = f"{module.text(expr.value.func)}({', '.join(parts)})"
        yield from put(module, expr.value, new, "await.gather", 0.4)


def _kinds(module: Module, stmt: ast.stmt) -> Iterator[Edit]:
    """`with` <-> `async with`, `for` <-> `async for`."""
    words: dict[type[ast.stmt], tuple[str, str]] = {
        ast.With: ("with", "async with"),
        ast.AsyncWith: ("async with", "with"),
        ast.For: ("for", "async for"),
        ast.AsyncFor: ("async for", "for"),
    }
    pair = words.get(type(stmt))
    start = module.span(stmt)[0]
    if pair is not None and module.data[start:].startswith(pair[0].encode()):
        yield Edit(module.path, stmt.lineno, "await.kind", 0.15, ((start, start + len(pair[0]), pair[1]),))
