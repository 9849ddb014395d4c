"""What a function gives back: other values, missing returns, returns too early."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import insertion, lines_edit, put, variables_here
from evolve.mend.scope import Scope
from evolve.mend.source import Module, own_exprs


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of return, yield, continue and break; a return behind the last statement of a function."""
    if isinstance(node, ast.Return):
        yield from _returned(module, node, scope, index)
    if isinstance(node, ast.Continue | ast.Break):
        other = "break" if isinstance(node, ast.Continue) else "continue"
        yield Edit(module.path, node.lineno, "result.exit", 0.5, ((*module.span(node), other),), 0.1)
        yield Edit(module.path, node.lineno, "result.exit", 0.25, ((*module.span(node), "pass"),), 0.3)
        yield Edit(module.path, node.lineno, "result.exit", 0.1, ((*module.span(node), "return"),), 0.3)
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Yield | ast.YieldFrom | ast.Constant):
        text = module.text(node)
        edit = Edit(
            module.path, node.lineno, "result.return_value", 0.25, ((*module.span(node), f"return {text}"),)
        )
        yield edit
    yield from _missing(module, node, scope)


def _returned(module: Module, stmt: ast.Return, scope: Scope, index: Index) -> Iterator[Edit]:
    if stmt.value is None:
        for rank, name in enumerate(variables_here(scope)[:5]):
            span = (*module.span(stmt), f"return {name}")
            yield Edit(module.path, stmt.lineno, "result.value", 0.3 / (1 + 0.3 * rank), (span,))
        return
    for text in ("None", "True", "False", "[]", "{}", "0", '""'):
        yield from put(module, stmt.value, text, "result.constant", 0.08, risk=0.8)
    function = scope.function.name if scope.function else ""
    for mined in index.returns:
        if mined.function == function and mined.module == module.path and mined.free <= scope.visible:
            yield from put(module, stmt.value, mined.text, "result.value", 0.3, risk=0.2)
    for rank, name in enumerate(variables_here(scope)[:8]):
        yield from put(module, stmt.value, name, "result.value", 0.25 / (1 + 0.25 * rank), risk=0.2)
    if isinstance(stmt.value, ast.Tuple) and len(stmt.value.elts) > 1:
        turned = ", ".join(module.text(e) for e in reversed(stmt.value.elts))
        yield from put(module, stmt.value, turned, "result.order", 0.3)
    called = [e for e in own_exprs(stmt) if isinstance(e, ast.Call)]
    if called and module.loop_of(stmt) is not None:
        span = (*module.span(stmt), module.text(stmt.value))
        yield Edit(module.path, stmt.lineno, "result.early", 0.2, (span,), 0.3)


def _missing(module: Module, stmt: ast.stmt, scope: Scope) -> Iterator[Edit]:
    """`return x` behind the last statement of a function, or of a branch in it."""
    place = module.places[stmt]
    if scope.function is None or isinstance(stmt, ast.Return | ast.Raise | ast.Continue | ast.Break):
        return
    if place.position != len(place.block) - 1:
        return
    own = place.owner is scope.function
    bound = [n.id for n in ast.walk(stmt) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    for rank, name in enumerate(list(dict.fromkeys([*bound, *variables_here(scope)]))[:3]):
        span = insertion(module, stmt, f"return {name}", after=True)
        if span is not None:
            prior = (0.35 if own else 0.25) / (1 + 0.4 * rank)
            yield from lines_edit(module, stmt, [span], "result.missing", prior, risk=0.2)
    span = insertion(module, stmt, "return", after=True)
    if span is not None and not own:
        yield from lines_edit(module, stmt, [span], "result.missing", 0.2, risk=0.3)
    in_loop = module.loop_of(stmt) is not None
    for word, prior in (("break", 0.3), ("continue", 0.3)):
        span = insertion(module, stmt, word, after=True)
        if in_loop and span is not None and not isinstance(place.owner, ast.With):
            yield from lines_edit(module, stmt, [span], "result.leave_loop", prior, risk=0.2)
