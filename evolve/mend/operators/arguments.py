"""Calls: arguments swapped, dropped, added, and the callee replaced by a compatible one."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index, Signature, last_name, likeness
from evolve.mend.operators.common import in_fstring, put, variables_here
from evolve.mend.scope import Scope
from evolve.mend.source import Module, own_exprs

RELATED = (
    {"min", "max"}, {"any", "all"}, {"append", "extend", "add"}, {"sorted", "list", "reversed"},
    {"strip", "lstrip", "rstrip"}, {"find", "rfind", "index"}, {"split", "rsplit"},
    {"startswith", "endswith"}, {"lower", "upper"}, {"floor", "ceil", "round"},
    {"partition", "rpartition"}, {"match", "search", "fullmatch"},
    {"union", "intersection", "difference"}, {"keys", "values", "items"}, {"get", "pop"},
    {"popleft", "pop"}, {"append", "appendleft"}, {"update", "setdefault"}, {"discard", "remove"},
    {"monotonic", "time"}, {"isdigit", "isalnum", "isalpha"}, {"sum", "len", "max"},
    {"int", "float"}, {"read", "readline", "readlines"},
)  # fmt: skip


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of every call in the statement."""
    for expr in own_exprs(node):
        if isinstance(expr, ast.Call) and not in_fstring(module, expr):
            yield from _swap(module, expr)
            yield from _drop(module, expr)
            yield from _keywords(module, expr, scope, index)
            yield from _add(module, expr, scope, index)
            yield from _callee(module, expr, scope, index)


def _swap(module: Module, call: ast.Call) -> Iterator[Edit]:
    for position, (left, right) in enumerate(zip(call.args, call.args[1:], strict=False)):
        if module.text(left) != module.text(right):
            spans = ((*module.span(left), module.text(right)), (*module.span(right), module.text(left)))
            yield Edit(module.path, call.lineno, "argument.swap", 0.5 / (1 + 0.2 * position), spans)


def _drop(module: Module, call: ast.Call) -> Iterator[Edit]:
    parts: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    for position, part in enumerate(parts):
        rest = [p for p in parts if p is not part]
        if isinstance(part, ast.expr) and position + 1 < len(call.args) and position:
            continue  # dropping from the middle shifts the others: rarely meant
        text = f"{module.text(call.func)}({', '.join(module.text(p) for p in rest)})"
        yield from put(module, call, text, "argument.drop", 0.3 if isinstance(part, ast.keyword) else 0.2)


def _keywords(module: Module, call: ast.Call, scope: Scope, index: Index) -> Iterator[Edit]:
    """Values that other callers give to the same keyword; variables of the same name as the keyword."""
    known = index.keywords.get(last_name(call.func), {})
    for keyword in call.keywords:
        if keyword.arg is None:
            continue
        values = sorted(known.get(keyword.arg, {}))
        own = [v for v in scope.variables if v.split(".")[-1].strip("_") == keyword.arg.strip("_")]
        for rank, text in enumerate([*own, *values][:8]):
            if _resolves(text, scope):
                yield from put(module, keyword.value, text, "argument.keyword_value", 0.5 / (1 + 0.2 * rank))


def _add(module: Module, call: ast.Call, scope: Scope, index: Index) -> Iterator[Edit]:
    """A keyword that other callers use, or a parameter of the callee that has a namesake in scope."""
    if any(k.arg is None for k in call.keywords) or any(isinstance(a, ast.Starred) for a in call.args):
        return
    name = last_name(call.func)
    given = {k.arg for k in call.keywords}
    positional: set[str] = set()
    options: list[tuple[float, str, str]] = []
    for signature in index.signatures.get(name, []):
        positional |= set(signature.params[: len(call.args)])
        for param in (*signature.params[len(call.args) :], *signature.keywords):
            for text in (v for v in scope.variables if v.split(".")[-1].strip("_") == param.strip("_")):
                options.append((0.6, param, text))
            options += [(0.2, param, text) for text in ("True", "False", "None")]
            nearest = sorted((-likeness(index, module.path, param, v), v) for v in variables_here(scope))
            options += [(0.15, param, v) for _, v in nearest[:3]]
    for keyword, values in sorted(index.keywords.get(name, {}).items()):
        options += [(0.55, keyword, text) for text in sorted(values)[:4]]
    options = [o for o in options if o[1] not in given | positional and _resolves(o[2], scope)]
    given_parts: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    parts = [module.text(p) for p in given_parts]
    best: dict[tuple[str, str], float] = {}
    for prior, keyword, text in options:
        best[keyword, text] = max(prior, best.get((keyword, text), 0.0))
    for rank, ((keyword, text), prior) in enumerate(sorted(best.items(), key=lambda i: (-i[1], i[0]))[:12]):
        new = f"{module.text(call.func)}({', '.join([*parts, f'{keyword}={text}'])})"
        yield from put(module, call, new, "argument.add", prior / (1 + 0.1 * rank))
    if not index.signatures.get(name):
        for rank, variable in enumerate(variables_here(scope)[:5]):
            new = f"{module.text(call.func)}({', '.join([*parts, variable])})" if not call.keywords else ""
            if new and variable not in parts:
                yield from put(module, call, new, "argument.add", 0.12 / (1 + 0.3 * rank))


def _resolves(text: str, scope: Scope) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return names <= scope.visible


def _callee(module: Module, call: ast.Call, scope: Scope, index: Index) -> Iterator[Edit]:
    func, name = call.func, last_name(call.func)
    for group in RELATED:
        if name in group:
            for other in sorted(group - {name}):
                yield from _renamed(module, func, other, "call.related", 0.45)
    own = index.signatures.get(name, [])
    arity = len(call.args) + len(call.keywords)
    ranked: list[tuple[float, str]] = []
    for other, signatures in sorted(index.signatures.items()):
        fits = [s for s in signatures if s.module == module.path and _takes(s, arity)]
        method = isinstance(func, ast.Attribute)
        fits = [s for s in fits if s.method == method and (not own or s.is_async == own[0].is_async)]
        if fits and other != name and not other.startswith("__"):
            ranked.append((-likeness(index, module.path, name, other), other))
    for rank, (score, other) in enumerate(sorted(ranked)[:6]):
        on_self = isinstance(func, ast.Attribute) and last_name(func.value) == scope.self_name
        if isinstance(func, ast.Name) or on_self or own:
            yield from _renamed(module, func, other, "call.other", (0.25 + 0.4 * -score) / (1 + 0.2 * rank))


def _takes(signature: Signature, arity: int) -> bool:
    return signature.required <= arity <= len(signature.params) + len(signature.keywords)


def _renamed(module: Module, func: ast.expr, other: str, operator: str, prior: float) -> Iterator[Edit]:
    if isinstance(func, ast.Attribute):
        yield from put(module, func, f"{module.text(func.value)}.{other}", operator, prior)
    elif isinstance(func, ast.Name):
        yield from put(module, func, other, operator, prior)
