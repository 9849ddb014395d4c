"""What all operator families share: making an edit of one expression or of whole lines."""

import ast
from collections.abc import Iterator
from functools import cache

from evolve.mend.edit import Edit, Span
from evolve.mend.index import Index, Mined
from evolve.mend.scope import Scope
from evolve.mend.source import FunctionNode, Module

TIGHT = (
    ast.Name
    | ast.Attribute
    | ast.Call
    | ast.Subscript
    | ast.Constant
    | ast.List
    | ast.Dict
    | ast.Set
    | ast.JoinedStr
)
LOOSE_STATEMENTS = (
    ast.Call | ast.keyword | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return | ast.If | ast.While
)
LOOSE_OTHERS = ast.Assert | ast.Expr | ast.List | ast.Tuple | ast.Set | ast.Dict | ast.For | ast.Subscript


def atom(text: str) -> str:
    """`text` so that an operator or a dot may stand beside it."""
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:
        return f"({text})"
    simple = isinstance(node, TIGHT | ast.ListComp | ast.DictComp | ast.SetComp)
    return text if simple else f"({text})"


def in_fstring(module: Module, node: ast.AST) -> bool:
    up = module.parents.get(node)
    while up is not None and not isinstance(up, ast.stmt):
        if isinstance(up, ast.JoinedStr):
            return True
        up = module.parents.get(up)
    return False


def put(
    module: Module, node: ast.expr, text: str, operator: str, prior: float, risk: float = 0.0
) -> Iterator[Edit]:
    """Replace one expression by `text`, in parentheses where its surroundings need them."""
    if in_fstring(module, node) and (not module.exact(node) or '"' in text or "'" in text):
        return
    old = module.text(node)
    if old == text:
        return
    parent = module.parents.get(node)
    new = (
        text
        if isinstance(parent, LOOSE_STATEMENTS | LOOSE_OTHERS) and not isinstance(node, ast.Starred)
        else atom(text)
    )
    if isinstance(parent, ast.Call) and len(parent.args) == 1 and text.startswith("*"):
        new = text
    yield Edit(module.path, node.lineno, operator, prior, ((*module.span(node), new),), risk)


def lines_edit(
    module: Module, stmt: ast.stmt, spans: list[Span], operator: str, prior: float, risk: float = 0.0
) -> Iterator[Edit]:
    yield Edit(module.path, stmt.lineno, operator, prior, tuple(sorted(spans)), risk)


def insertion(module: Module, stmt: ast.stmt, text: str, *, after: bool = False) -> Span | None:
    """`text` (whole lines, without indentation) as new lines in front of or behind a statement."""
    lines = module.lines(stmt)
    if lines is None:
        return None
    indent = module.indent(stmt)
    body = "".join(f"{indent if line else ''}{line}{module.newline}" for line in text.split("\n"))
    position = lines[1] if after else lines[0]
    if after and not module.data[:position].endswith(b"\n"):
        body = module.newline + body.removesuffix(module.newline)
    return position, position, body


def step(module: Module) -> str:
    """One level of indentation as this file writes it."""
    for stmt in module.statements:
        owner = module.places[stmt].owner
        if isinstance(owner, FunctionNode | ast.ClassDef | ast.If) and stmt.lineno > owner.lineno:
            inner, outer = module.indent(stmt), module.indent(owner)
            if inner.startswith(outer) and len(inner) > len(outer):
                return inner[len(outer) :]
    return "    "


def tests_of(stmt: ast.stmt) -> Iterator[ast.expr]:
    """The conditions that a statement itself decides by."""
    if isinstance(stmt, ast.If | ast.While | ast.Assert):
        yield stmt.test
    for node in ast.walk(stmt) if not hasattr(stmt, "body") else _header(stmt):
        if isinstance(node, ast.IfExp):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from node.ifs


def _header(stmt: ast.stmt) -> Iterator[ast.AST]:
    from evolve.mend.source import own_nodes

    return own_nodes(stmt)


def adapted(piece: Mined, scope: Scope, index: Index, limit: int = 2) -> Iterator[tuple[str, float]]:
    """A mined piece with names that resolve here: as it is, or with one name replaced by a similar one."""
    from evolve.mend.index import likeness

    unknown = sorted(piece.free - scope.visible)
    if not unknown:
        yield piece.text, 1.0
        return
    if len(unknown) > 1:
        return
    plain = [v for v in variables_here(scope) if "." not in v]
    ranked = sorted(((-likeness(index, scope.module.path, unknown[0], v), i, v) for i, v in enumerate(plain)))
    for score, _, name in ranked[:limit]:
        text = renamed(piece.text, unknown[0], name)
        if text is not None:
            yield text, 0.3 + 0.4 * -score


@cache
def renamed(text: str, old: str, new: str) -> str | None:
    """A piece of source with one plain name replaced, its formatting kept; None where that can't be done safely."""
    if "\n" in text or not text.isascii():
        return None
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    spots = sorted(
        (
            (n.col_offset, n.end_col_offset or 0)
            for n in ast.walk(tree)
            if isinstance(n, ast.Name) and n.id == old
        ),
        reverse=True,
    )
    for start, end in spots:
        if text[start:end] != old:
            return None
        text = text[:start] + new + text[end:]
    return text


def variables_here(scope: Scope) -> list[str]:
    """Variables of the scope, nearest first, at most 24: a longer list is noise."""
    return scope.variables[:24]


def docstring_free_start(function: FunctionNode) -> ast.stmt | None:
    """The first statement of a function behind its docstring."""
    from evolve.mend.source import is_docstring

    body = [s for s in function.body if not is_docstring(s)]
    return body[0] if body else None
