"""Statements found elsewhere in the repository, put in or put in place, with names that resolve here."""

import ast
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from evolve.mend.edit import Edit
from evolve.mend.index import Index, Mined, words
from evolve.mend.operators.common import adapted, insertion, lines_edit, step
from evolve.mend.scope import Scope
from evolve.mend.source import FunctionNode, Module, header_lines, is_docstring

LIMIT = 24


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """Insertions before and behind the statement, replacements of it, and with-blocks around it."""
    if isinstance(node, ast.Import | ast.ImportFrom | FunctionNode | ast.ClassDef) or is_docstring(node):
        return
    if scope.function is None:
        return
    yield from _statements(module, node, scope, index)
    yield from _with_blocks(module, node, scope, index)


def _statements(module: Module, stmt: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    here = words(_head(module, stmt))
    function = scope.function.name if scope.function is not None else ""
    ranked: dict[str, tuple[float, Mined]] = {}
    for donor in index.statements:
        if donor.module == module.path and donor.line == stmt.lineno:
            continue
        if donor.awaits and not scope.is_async:
            continue
        near = 0.15 * (donor.module == module.path) + 0.1 * (donor.function == function)
        own, before, after = (_alike(here, some) for some in donor.words)
        score = near + max(0.6 * before, 0.6 * after, 0.45 * own)
        if score > ranked.get(donor.text, (0.0, donor))[0]:
            ranked[donor.text] = (score, donor)
    best = sorted(ranked.values(), key=lambda r: (-r[0], r[1].module, r[1].line, r[1].text))[:LIMIT]
    for rank, (score, donor) in enumerate(best):
        for text, factor in adapted(donor, scope, index):
            prior = factor * min(0.6, 0.1 + 0.7 * score) / (1 + 0.1 * rank)
            yield from _place(module, stmt, donor, text, here, prior)


def _place(
    module: Module, stmt: ast.stmt, donor: Mined, text: str, here: AbstractSet[str], prior: float
) -> Iterator[Edit]:
    flat = _dedented(donor, text)
    if flat is None or flat == module.text(stmt):
        return
    own, before, after = (_alike(here, some) for some in donor.words)
    for behind, fit in ((True, before), (False, after)):
        if behind and isinstance(stmt, ast.Return | ast.Raise | ast.Continue | ast.Break):
            continue
        span = insertion(module, stmt, flat, after=behind)
        if span is not None:
            yield from lines_edit(module, stmt, [span], "donor.insert", prior * (0.4 + 0.6 * fit))
    lines = module.lines(stmt)
    simple = not hasattr(stmt, "body") and type(stmt) is type(donor.node)
    span = insertion(module, stmt, flat)
    if simple and lines is not None and span is not None:
        yield from lines_edit(
            module, stmt, [(*lines, span[2])], "donor.replace", prior * (0.2 + 0.7 * own), risk=0.2
        )


def _dedented(donor: Mined, text: str) -> str | None:
    """Text of the statement at indentation zero."""
    if "\n" not in text:
        return text
    if '"""' in text or "'''" in text or not isinstance(donor.node, ast.stmt):
        return None
    first, *rest = text.split("\n")
    pad = " " * donor.node.col_offset
    return "\n".join([first, *(line.removeprefix(pad).rstrip("\r") for line in rest)])


def _head(module: Module, stmt: ast.stmt) -> str:
    return "\n".join(module.text(stmt).split("\n")[: len(header_lines(stmt))])


def _alike(left: AbstractSet[str], right: AbstractSet[str]) -> float:
    return len(left & right) / len(left | right) if left and right else 0.0


def _with_blocks(module: Module, stmt: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """`with lock:` as others write it, around this statement and up to five that follow."""
    place = module.places[stmt]
    indent, level = module.indent(stmt), step(module)
    first = module.lines(stmt)
    if first is None:
        return
    known = list(dict.fromkeys(h.text for h in index.headers if h.free <= scope.visible))
    for rank, header in enumerate(known[:6]):
        if header.startswith("async") and not scope.is_async:
            continue
        for count in range(1, 7):
            group = place.block[place.position : place.position + count]
            last = module.lines(group[-1])
            texts = [module.block_text(s, indent + level) for s in group]
            if len(group) < count or last is None or not all(texts):
                break
            text = f"{indent}{header}{module.newline}{''.join(t for t in texts if t)}"
            prior = 0.3 / (1 + 0.4 * rank + 0.15 * (count - 1))
            yield from lines_edit(module, stmt, [(first[0], last[1], text)], "donor.with", prior)
