"""What is iterated, in which order, and how collections are taken apart."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index, dotted, likeness
from evolve.mend.operators.common import atom, put, variables_here
from evolve.mend.scope import Scope
from evolve.mend.source import Module, own_exprs

HEADS = ast.For | ast.AsyncFor


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of loops, comprehensions, slices, positions, sort keys."""
    if isinstance(node, HEADS):
        yield from _iterable(module, node.iter, scope, index)
        yield from _completion_order(module, node)
    for expr in own_exprs(node):
        for generator in getattr(expr, "generators", []):
            yield from _iterable(module, generator.iter, scope, index)
            yield from _comprehension_tests(module, expr, generator)
        if isinstance(expr, ast.Subscript):
            yield from _subscript(module, expr, index, scope)
        elif isinstance(expr, ast.Call):
            yield from _sorting(module, expr)
            yield from _range(module, expr)


def _iterable(module: Module, expr: ast.expr, scope: Scope, index: Index) -> Iterator[Edit]:
    text = module.text(expr)
    name = dotted(expr) or ""
    ranked = sorted(
        (-likeness(index, module.path, name, v), i, v) for i, v in enumerate(variables_here(scope))
    )
    iterated = [v for _, _, v in ranked if "iter" in index.features[module.path].get(v, ()) and v != text]
    for rank, other in enumerate(iterated[:5]):
        yield from put(module, expr, other, "iteration.other", 0.45 / (1 + 0.25 * rank))
    loose = atom(text)
    patterns = [(f"list({text})", 0.35), (f"sorted({text})", 0.35), (f"reversed({text})", 0.25)]
    patterns += [(f"{loose}[1:]", 0.25), (f"{loose}[:-1]", 0.25), (f"{loose}[::-1]", 0.15)]
    patterns += [(f"{loose}.items()", 0.2), (f"{loose}.values()", 0.25), (f"{loose}.keys()", 0.1)]
    patterns += [(f"enumerate({text})", 0.15), (f"{loose} or []", 0.25), (f"set({text})", 0.1)]
    patterns += [(f"dict.fromkeys({text})", 0.2)]
    for new, prior in patterns:
        yield from put(module, expr, new, "iteration.shape", prior)
    if (
        isinstance(expr, ast.Call)
        and isinstance(expr.func, ast.Name)
        and expr.func.id == "zip"
        and len(expr.args) > 1
    ):
        turned = ", ".join(module.text(a) for a in reversed(expr.args))
        yield from put(module, expr, f"zip({turned})", "iteration.zip", 0.3)
    if isinstance(expr, ast.Call) and isinstance(expr.func, ast.Name) and expr.func.id == "enumerate":
        first = module.text(expr.args[0]) if expr.args else ""
        start = ", 1" if len(expr.args) == 1 and not expr.keywords else ""
        yield from put(module, expr, f"enumerate({first}{start})", "iteration.enumerate", 0.45)


def _completion_order(module: Module, loop: ast.For | ast.AsyncFor) -> Iterator[Edit]:
    """`for f in as_completed(xs): r = await f` -> results in the order of xs."""
    call = loop.iter
    if not isinstance(call, ast.Call) or not call.args:
        return
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in ("as_completed", "imap_unordered"):
        return
    first = module.text(call.args[0])
    if name == "imap_unordered":
        new = module.text(call.func).replace("imap_unordered", "imap")
        yield from put(module, call.func, new, "iteration.completion_order", 0.9)
        return
    yield from put(module, call, first, "iteration.completion_order", 0.9)
    waits = [
        n for s in loop.body for n in ast.walk(s)
        if isinstance(n, ast.Await) and isinstance(n.value, ast.Name) and isinstance(loop.target, ast.Name)
        and n.value.id == loop.target.id
    ]  # fmt: skip
    if waits and isinstance(loop.target, ast.Name):
        spans = [(*module.span(call), f"await asyncio.gather(*{first})")]
        spans += [(*module.span(w), loop.target.id) for w in waits]
        yield Edit(module.path, loop.lineno, "iteration.completion_order", 0.85, tuple(sorted(spans)))


def _comprehension_tests(module: Module, expr: ast.expr, generator: ast.comprehension) -> Iterator[Edit]:
    """A condition taken off, or truth of the element asked for."""
    for test in generator.ifs:
        end = module.span(test)[1]
        start = module.data.rfind(b"if", 0, module.span(test)[0])
        gap = module.data[start : module.span(test)[0]].decode("utf-8", "replace")
        if start >= 0 and not gap.replace("if", "", 1).strip(" \t\r\n("):
            while module.data[start - 1 : start].isspace():
                start -= 1
            prior = 0.3
            yield Edit(module.path, test.lineno, "iteration.drop_condition", prior, ((start, end, ""),), 0.4)
    if not generator.ifs and isinstance(generator.target, ast.Name):
        end = module.span(generator.iter)[1]
        name = generator.target.id
        for text, prior in ((f" if {name}", 0.3), (f" if {name} is not None", 0.3)):
            yield Edit(module.path, expr.lineno, "iteration.add_condition", prior, ((end, end, text),))


def _subscript(module: Module, expr: ast.Subscript, index: Index, scope: Scope) -> Iterator[Edit]:
    owner = module.text(expr.value)
    if isinstance(expr.slice, ast.Slice):
        lower, upper, step = (
            module.text(p) if p else "" for p in (expr.slice.lower, expr.slice.upper, expr.slice.step)
        )
        tail = f":{step}" if step else ""
        forms = [(f"{upper}:{lower}{tail}", 0.3), (f":{upper}{tail}", 0.35), (f"{lower}:{tail}", 0.35)]
        forms += [
            (f"{lower}:{upper}", 0.3),
            (f"-{upper}:{tail}", 0.3),
            (f":-{upper}{tail}", 0.25),
            (f"-{lower}:", 0.25),
        ]
        forms += [(f"{lower or 0}:{upper} + 1" if upper else f"{lower}:-1", 0.35), (f"1:{upper}{tail}", 0.25)]
        forms += [(f":{lower}{tail}" if lower else "::-1", 0.3)]
        for form, prior in dict(forms).items():
            if form not in (":", "-:", ":-"):
                yield from put(module, expr, f"{owner}[{form}]", "slice.bounds", prior)
        yield from put(module, expr, owner, "slice.drop", 0.3)
        return
    key = module.text(expr.slice)
    if isinstance(expr.ctx, ast.Load):
        yield from put(module, expr, f"{owner}.get({key})", "key.get", 0.3)
        yield from put(module, expr, owner, "key.drop", 0.15)
        if isinstance(expr.slice, ast.Constant) and expr.slice.value == 0:
            yield from put(module, expr, f"{owner}[-1]", "key.end", 0.5)
        if isinstance(expr.slice, ast.UnaryOp) and key == "-1":
            yield from put(module, expr, f"{owner}[0]", "key.end", 0.5)
    if isinstance(expr.slice, ast.Constant) and isinstance(expr.slice.value, int):
        for rank, name in enumerate(n for n in variables_here(scope)[:6] if n != owner):
            yield from put(module, expr.slice, name, "key.by_name", 0.3 / (1 + 0.2 * rank))
    else:
        for rank, name in enumerate(n for n in variables_here(scope)[:6] if n not in (owner, key)):
            yield from put(module, expr.slice, name, "key.by_name", 0.3 / (1 + 0.2 * rank))


def _sorting(module: Module, call: ast.Call) -> Iterator[Edit]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in ("sorted", "sort", "min", "max"):
        return
    parts = [module.text(a) for a in call.args]
    others = [k for k in call.keywords if k.arg != "reverse"]
    texts = [module.text(k) for k in others]
    func = module.text(call.func)
    if name in ("sorted", "sort"):
        reverse = next((k for k in call.keywords if k.arg == "reverse"), None)
        added = [] if reverse is not None else ["reverse=True"]
        yield from put(module, call, f"{func}({', '.join([*parts, *texts, *added])})", "sort.reverse", 0.45)
    for keyword in call.keywords:
        if keyword.arg == "key" and isinstance(keyword.value, ast.Lambda):
            yield from _sort_key(module, keyword.value)
    if not any(k.arg == "key" for k in call.keywords) and name != "sort" and len(call.args) == 1:
        for key, prior in (("len", 0.2), ("str", 0.1), ("abs", 0.1), ("lambda item: item[0]", 0.1),
                           ("lambda item: item[1]", 0.15)):  # fmt: skip
            yield from put(
                module, call, f"{func}({', '.join([*parts, *texts, f'key={key}'])})", "sort.key", prior
            )


def _sort_key(module: Module, key: ast.Lambda) -> Iterator[Edit]:
    body = key.body
    if isinstance(body, ast.Tuple) and len(body.elts) > 1:
        turned = ", ".join(module.text(e) for e in reversed(body.elts))
        yield from put(module, body, turned, "sort.key", 0.4)
    elements = body.elts if isinstance(body, ast.Tuple) else [body]
    for element in elements:
        if not isinstance(element, ast.UnaryOp):
            yield from put(module, element, f"-{atom(module.text(element))}", "sort.key", 0.4)


def _range(module: Module, call: ast.Call) -> Iterator[Edit]:
    if isinstance(call.func, ast.Name) and call.func.id == "range":
        parts = [module.text(a) for a in call.args]
        if len(parts) == 1:
            yield from put(module, call, f"range(1, {parts[0]})", "iteration.range", 0.4)
            yield from put(module, call, f"range(1, {parts[0]} + 1)", "iteration.range", 0.35)
        elif len(parts) == 2:
            yield from put(module, call, f"range({parts[1]})", "iteration.range", 0.35)
            yield from put(module, call, f"range({parts[1]}, {parts[0]})", "iteration.range", 0.15)
        elif len(parts) == 3:
            yield from put(module, call, f"range({parts[0]}, {parts[1]})", "iteration.range", 0.3)
