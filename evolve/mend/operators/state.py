"""Where state lives: mutable defaults, class bodies, module containers, late-bound loop variables."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit, Span
from evolve.mend.index import Index
from evolve.mend.operators.common import docstring_free_start, insertion, lines_edit, step
from evolve.mend.operators.statements import removal
from evolve.mend.scope import Scope, bound_names, free_names
from evolve.mend.source import FunctionNode, Module, own_exprs

CONTAINERS = ("dict", "list", "set", "defaultdict", "deque", "OrderedDict", "Counter", "WeakValueDictionary")


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Shared state made private to a call or an instance."""
    if isinstance(node, FunctionNode):
        yield from _defaults(module, node)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        owner = module.places[node].owner
        if isinstance(owner, ast.ClassDef):
            yield from _class_level(module, node, owner)
        elif isinstance(owner, ast.Module):
            yield from _module_level(module, node)
    yield from _late_binding(module, node, scope)
    yield from _declared(module, node, scope)


def is_mutable(node: ast.expr | None) -> bool:
    """A fresh container: the kind of value that must not be shared by accident."""
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return name in CONTAINERS
    return isinstance(node, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp)


def _defaults(module: Module, function: FunctionNode) -> Iterator[Edit]:
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    pairs = list(zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True))
    pairs += [(a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is not None]
    start = docstring_free_start(function)
    for arg, default in pairs:
        if start is None or start.lineno == function.lineno:
            return
        if is_mutable(default) or isinstance(default, ast.Call):
            value = module.text(default)
            span = insertion(module, start, f"if {arg.arg} is None:\n{step(module)}{arg.arg} = {value}")
            if span is not None:
                prior = 0.9 if is_mutable(default) else 0.5
                yield from lines_edit(
                    module, function, [(*module.span(default), "None"), span], "state.default", prior
                )


def _target(stmt: ast.Assign | ast.AnnAssign) -> str | None:
    targets = stmt.targets if isinstance(stmt, ast.Assign) else [stmt.target]
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else None


def _class_level(module: Module, stmt: ast.Assign | ast.AnnAssign, owner: ast.ClassDef) -> Iterator[Edit]:
    """`class C: x = []` -> set in `__init__`, which is written if there is none."""
    name, away = _target(stmt), removal(module, stmt)
    if name is None or stmt.value is None or away is None:
        return
    prior = 0.85 if is_mutable(stmt.value) else 0.2
    added = _in_init(module, owner, f"self.{name} = {module.text(stmt.value)}", stmt)
    if added is None:
        return
    if added[0] == away[1] or added[0] == away[0]:
        yield from lines_edit(module, stmt, [(*away[:2], added[2])], "state.class_level", prior)
    else:
        yield from lines_edit(module, stmt, [away, added], "state.class_level", prior)
        yield from lines_edit(module, stmt, [added], "state.class_level", prior * 0.8)


def _in_init(module: Module, owner: ast.ClassDef, text: str, anchor: ast.stmt) -> Span | None:
    for stmt in owner.body:
        if isinstance(stmt, FunctionNode) and stmt.name == "__init__":
            start = docstring_free_start(stmt)
            return None if start is None or start.lineno == stmt.lineno else insertion(module, start, text)
    if owner.bases or owner.decorator_list:
        return None
    level = step(module)
    body = f"\ndef __init__(self):\n{level}{text}"
    following = [s for s in owner.body if s.lineno > anchor.lineno]
    functions = [s for s in following if isinstance(s, FunctionNode)]
    place = functions[0] if functions else None
    if place is None:
        return None
    return insertion(module, place, body.removeprefix("\n") + "\n")


def _module_level(module: Module, stmt: ast.Assign | ast.AnnAssign) -> Iterator[Edit]:
    """A module's container used by one class -> one per instance."""
    name = _target(stmt)
    if name is None or not is_mutable(stmt.value) or stmt.value is None:
        return
    uses = [n for n in module.nodes if isinstance(n, ast.Name) and n.id == name]
    for owner in (c for c in module.tree.body if isinstance(c, ast.ClassDef)):
        inside = [n for n in uses if module.class_of(n) is owner]
        if not inside:
            continue
        attribute = "_" + name.strip("_").lower()
        added = _in_init(module, owner, f"self.{attribute} = {module.text(stmt.value)}", owner.body[0])
        if added is None:
            continue
        spans: list[Span] = [(*module.span(n), f"self.{attribute}") for n in inside]
        yield from lines_edit(module, stmt, [*spans, added], "state.module_level", 0.7)


def _late_binding(module: Module, stmt: ast.stmt, scope: Scope) -> Iterator[Edit]:
    """`lambda: x` in a loop over x -> `lambda x=x: x`; the same for functions defined in a loop."""
    targets = set(scope.loop_targets)
    for expr in own_exprs(stmt):
        up = module.parents.get(expr)
        comprehended = {
            n.id for c in _comprehensions(module, expr) for n in ast.walk(c.target) if isinstance(n, ast.Name)
        }
        if isinstance(expr, ast.Lambda) and up is not None:
            bound = sorted((targets | comprehended) & free_names(expr.body) - {a.arg for a in expr.args.args})
            if bound:
                extra = ", ".join(f"{n}={n}" for n in bound)
                old = module.text(expr)
                head, _, rest = old.partition(":")
                sep = ", " if head.strip() != "lambda" else " "
                span = (*module.span(expr), f"{head.rstrip()}{sep}{extra}:{rest}")
                yield Edit(module.path, expr.lineno, "state.late_binding", 0.7, (span,))


def _comprehensions(module: Module, node: ast.AST) -> Iterator[ast.comprehension]:
    up = module.parents.get(node)
    while up is not None and not isinstance(up, ast.stmt):
        yield from getattr(up, "generators", [])
        up = module.parents.get(up)


def _declared(module: Module, stmt: ast.stmt, scope: Scope) -> Iterator[Edit]:
    """`global x` or `nonlocal x` for a name that the function sets and the scope around has too."""
    function = scope.function
    targets = stmt.targets if isinstance(stmt, ast.Assign) else [getattr(stmt, "target", None)]
    if function is None or not isinstance(stmt, ast.Assign | ast.AugAssign):
        return
    start = docstring_free_start(function)
    outer = module.function_of(function)
    for target in targets:
        if isinstance(target, ast.Name) and start is not None and start.lineno > function.lineno:
            around = bound_names(outer) if outer is not None else ()
            word = "nonlocal" if target.id in around else "global" if target.id in scope.module_names else ""
            span = insertion(module, start, f"{word} {target.id}") if word else None
            if span is not None:
                yield from lines_edit(module, stmt, [span], "state.declare", 0.4)
