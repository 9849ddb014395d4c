"""Which exceptions are caught, and what happens then."""

import ast
from collections.abc import Iterator

from evolve.mend.edit import Edit
from evolve.mend.index import Index
from evolve.mend.operators.common import lines_edit, step
from evolve.mend.scope import Scope, free_names
from evolve.mend.source import Module

RELATED = {
    "KeyError": ("LookupError", "(KeyError, TypeError)", "IndexError"),
    "IndexError": ("LookupError", "KeyError"),
    "ValueError": ("(ValueError, TypeError)", "TypeError"),
    "TypeError": ("(TypeError, ValueError)", "ValueError"),
    "OSError": ("FileNotFoundError",),
    "FileNotFoundError": ("OSError",),
    "AttributeError": ("(AttributeError, TypeError)",),
    "Exception": ("BaseException", "ValueError", "OSError", "LookupError"),
    "BaseException": ("Exception",),
    "TimeoutError": ("asyncio.TimeoutError", "OSError"),
}


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Edits of handlers and raises; a try around the statement as others of this file write it."""
    if isinstance(node, ast.Try):
        for handler in node.handlers:
            yield from _caught(module, node, handler, index)
            yield from _handled(module, node, handler)
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        yield from _raised(module, node, node.exc, index)
    yield from _tried(module, node, scope)


def _caught(module: Module, stmt: ast.Try, handler: ast.ExceptHandler, index: Index) -> Iterator[Edit]:
    if handler.type is None:
        return
    text = module.text(handler.type)
    options = [(name, 0.35) for name in RELATED.get(text, ())]
    options += [("Exception", 0.4 if text != "Exception" else 0.0)]
    options += [(name, 0.3 / (1 + 0.15 * rank)) for rank, name in enumerate(index.exceptions[:12])]
    options += [
        (f"({text}, {name})", 0.3 / (1 + 0.15 * rank)) for rank, name in enumerate(index.exceptions[:8])
    ]
    if isinstance(handler.type, ast.Tuple):
        options = [o for o in options if not o[0].startswith("(")]
        options += [(module.text(e), 0.3) for e in handler.type.elts]
        for rank, name in enumerate(index.exceptions[:6]):
            options.append((f"{text[:-1].rstrip(', ')}, {name})", 0.3 / (1 + 0.15 * rank)))
    known: dict[str, float] = {}
    for name, prior in options:
        known[name] = max(prior, known.get(name, 0.0))
    for name, prior in known.items():
        if prior and name != text and not (name.startswith("(") and f"{text}, {text}" in name):
            span = (*module.span(handler.type), name)
            yield Edit(module.path, handler.lineno, "exception.type", prior, (span,), 0.1)


def _handled(module: Module, stmt: ast.Try, handler: ast.ExceptHandler) -> Iterator[Edit]:
    """The last words of a handler: raise, return, continue; or the handler dropped."""
    last = handler.body[-1]
    lines = module.lines(last)
    if lines is None:
        return
    indent = module.indent(last)
    loop = module.loop_of(last) is not None
    words = [("raise", 0.4), ("return None", 0.25), *([("continue", 0.3), ("break", 0.2)] if loop else [])]
    for word, prior in words:
        new = f"{indent}{word}{module.newline}"
        if isinstance(last, ast.Pass | ast.Return | ast.Continue | ast.Break | ast.Raise):
            if module.text(last) != word:
                yield Edit(module.path, last.lineno, "exception.outcome", prior, ((*lines, new),), 0.2)
        elif module.data[: lines[1]].endswith(b"\n"):
            yield Edit(
                module.path, last.lineno, "exception.outcome", prior * 0.8, ((lines[1], lines[1], new),), 0.2
            )


def _raised(module: Module, stmt: ast.Raise, call: ast.Call, index: Index) -> Iterator[Edit]:
    text = module.text(call.func)
    names = [*RELATED.get(text, ()), *index.exceptions[:8]]
    for rank, name in enumerate(dict.fromkeys(n for n in names if n != text and not n.startswith("("))):
        span = (*module.span(call.func), name)
        yield Edit(module.path, stmt.lineno, "exception.raised", 0.3 / (1 + 0.15 * rank), (span,), 0.1)


def _tried(module: Module, stmt: ast.stmt, scope: Scope) -> Iterator[Edit]:
    """`try: stmt` with handlers that this file has elsewhere, short ones only."""
    lines = module.lines(stmt)
    text = module.block_text(stmt, module.indent(stmt) + step(module))
    if lines is None or text is None or scope.function is None or hasattr(stmt, "body"):
        return
    if not any(isinstance(n, ast.Call | ast.Subscript | ast.Attribute) for n in ast.walk(stmt)):
        return
    handlers = [h for n in module.nodes if isinstance(n, ast.Try) for h in n.handlers]
    handlers = [h for h in handlers if len(h.body) == 1 and not hasattr(h.body[0], "body")]
    seen: dict[str, None] = {}
    for handler in handlers:
        bound = {handler.name} if handler.name else set()
        if free_names(handler) - bound <= scope.visible and module.lines(handler.body[0]) is not None:
            head = f"except {module.text(handler.type)}" if handler.type else "except"
            named = f" as {handler.name}" if handler.name else ""
            seen.setdefault(f"{head}{named}:\n{module.text(handler.body[0])}")
    indent, level, end = module.indent(stmt), step(module), module.newline
    for rank, piece in enumerate(list(seen)[:5]):
        head, body = piece.split("\n", 1)
        if "\n" not in body:
            new = f"{indent}try:{end}{text}{indent}{head}{end}{indent}{level}{body}{end}"
            yield from lines_edit(
                module, stmt, [(*lines, new)], "exception.try", 0.2 / (1 + 0.3 * rank), risk=0.4
            )
