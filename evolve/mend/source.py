"""A Python file as bytes and syntax tree at once, with exact positions to edit at."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
BOM = b"\xef\xbb\xbf"
BLOCKS = ("body", "orelse", "finalbody")


class Unreadable(ValueError):
    """Not a file that can be edited safely: no UTF-8, a syntax error, or bare carriage returns."""


@dataclass(frozen=True)
class Place:
    """Where a statement stands: `block[position]` of `owner.<part>`."""

    owner: ast.AST
    part: str
    block: list[ast.stmt]
    position: int


@dataclass
class Module:
    """`path` is relative to the repository. Positions are byte offsets into `data`."""

    path: str
    data: bytes
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        body = self.data.removeprefix(BOM)
        if b"\r" in body.replace(b"\r\n", b""):
            raise Unreadable(f"{self.path}: bare carriage returns")
        try:
            body.decode("utf-8")
            self.tree = ast.parse(body)
        except (SyntaxError, ValueError, RecursionError) as problem:
            raise Unreadable(f"{self.path}: {problem}") from problem

    @cached_property
    def starts(self) -> list[int]:
        """Offset of every line."""
        offset = len(BOM) if self.data.startswith(BOM) else 0
        found = [offset]
        position = self.data.find(b"\n", offset)
        while position >= 0:
            found.append(position + 1)
            position = self.data.find(b"\n", position + 1)
        return found

    @cached_property
    def newline(self) -> str:
        return "\r\n" if b"\r\n" in self.data else "\n"

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: parent for parent in self.nodes for child in ast.iter_child_nodes(parent)}

    @cached_property
    def places(self) -> dict[ast.stmt, Place]:
        found: dict[ast.stmt, Place] = {}
        for owner in self.nodes:
            for part in BLOCKS:
                block = getattr(owner, part, None)
                if isinstance(block, list):
                    for position, stmt in enumerate(block):
                        if isinstance(stmt, ast.stmt):
                            found[stmt] = Place(owner, part, block, position)
        return found

    @cached_property
    def statements(self) -> list[ast.stmt]:
        return sorted(self.places, key=lambda s: (s.lineno, s.col_offset))

    def offset(self, line: int, column: int) -> int:
        found: int = self.starts[line - 1] + column
        return found

    def span(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.excepthandler) -> tuple[int, int]:
        if node.end_lineno is None or node.end_col_offset is None:
            raise Unreadable(f"{self.path}: a node without an end")
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def text(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.excepthandler) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode("utf-8", "replace")

    def exact(self, node: ast.expr) -> bool:
        """Whether the recorded position is right: inside f-strings older Pythons record wrong ones."""
        try:
            found = ast.parse("(" + self.text(node) + "\n)", mode="eval").body
        except (SyntaxError, ValueError):
            return False
        return ast.dump(found) == ast.dump(node)

    def first_line(self, stmt: ast.stmt) -> int:
        decorators: list[ast.expr] = getattr(stmt, "decorator_list", [])
        return min([stmt.lineno, *(d.lineno for d in decorators)])

    def indent(self, stmt: ast.stmt) -> str:
        start = self.starts[self.first_line(stmt) - 1]
        line = self.data[start : self.span(stmt)[1]].decode("utf-8", "replace")
        return line[: len(line) - len(line.lstrip(" \t"))]

    def lines(self, stmt: ast.stmt) -> tuple[int, int] | None:
        """The whole lines of a statement, line end included; None when it shares a line with something."""
        start = self.starts[self.first_line(stmt) - 1]
        begin, end = self.span(stmt)
        if stmt.lineno == self.first_line(stmt) and self.data[start:begin].strip():
            return None
        last = stmt.end_lineno or stmt.lineno
        after = self.starts[last] if last < len(self.starts) else len(self.data)
        rest = self.data[end:after].strip()
        if rest and not rest.startswith(b"#"):
            return None
        return start, after

    def block_text(self, stmt: ast.stmt, indent: str) -> str | None:
        """The statement's lines at another indentation, ending in a newline; None when that can't be done."""
        lines = self.lines(stmt)
        if lines is None:
            return None
        text = self.data[slice(*lines)].decode("utf-8")
        if not text.endswith("\n"):
            text += self.newline
        old = self.indent(stmt)
        if old == indent:
            return text
        if any(_spans_lines(node) for node in ast.walk(stmt)):
            return None
        moved = []
        for line in text.splitlines(keepends=True):
            if line.startswith(old):
                moved.append(indent + line[len(old) :])
            elif not line.strip():
                moved.append(line)
            else:
                moved.append(indent + line.lstrip(" \t"))
        return "".join(moved)

    def function_of(self, node: ast.AST) -> FunctionNode | None:
        """The nearest function around `node` (itself excluded)."""
        up = self.parents.get(node)
        while up is not None and not isinstance(up, FunctionNode):
            up = self.parents.get(up)
        return up

    def class_of(self, node: ast.AST) -> ast.ClassDef | None:
        """The nearest class around `node`, also through its methods."""
        up = self.parents.get(node)
        while up is not None and not isinstance(up, ast.ClassDef):
            up = self.parents.get(up)
        return up

    def loop_of(self, stmt: ast.stmt) -> ast.stmt | None:
        """The loop that a `continue` at this place would belong to."""
        up: ast.AST = stmt
        while isinstance(up, ast.stmt) and up in self.places:
            place = self.places[up]
            if isinstance(place.owner, ast.For | ast.AsyncFor | ast.While) and place.part == "body":
                return place.owner
            if isinstance(place.owner, FunctionNode | ast.ClassDef):
                return None
            up = place.owner if not isinstance(place.owner, ast.ExceptHandler) else self.parents[place.owner]
        return None


def _spans_lines(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant | ast.JoinedStr) and (node.end_lineno or 0) > node.lineno


def own_nodes(stmt: ast.stmt) -> Iterator[ast.AST]:
    """Nodes of the statement itself, outermost first; not those of statements nested in it."""
    todo: list[ast.AST] = [stmt]
    while todo:
        node = todo.pop(0)
        if node is not stmt:
            yield node
        todo[:0] = [c for c in ast.iter_child_nodes(node) if not isinstance(c, ast.stmt | ast.excepthandler)]


def own_exprs(stmt: ast.stmt) -> Iterator[ast.expr]:
    """Expressions of the statement itself, annotations left out."""
    skipped = {id(n) for n in _annotations(stmt)}
    return (n for n in own_nodes(stmt) if isinstance(n, ast.expr) and id(n) not in skipped)


def _annotations(stmt: ast.stmt) -> Iterator[ast.AST]:
    roots: list[ast.expr | None] = []
    if isinstance(stmt, ast.AnnAssign):
        roots.append(stmt.annotation)
    if isinstance(stmt, FunctionNode):
        roots.append(stmt.returns)
        roots += [a.annotation for a in ast.walk(stmt.args) if isinstance(a, ast.arg)]
    for root in roots:
        if root is not None:
            yield from ast.walk(root)


def header_lines(stmt: ast.stmt) -> range:
    """The lines that belong to the statement and not to statements nested in it."""
    inner = [c.lineno for c in ast.iter_child_nodes(stmt) if isinstance(c, ast.stmt | ast.excepthandler)]
    last = max(stmt.lineno, min(inner) - 1) if inner else (stmt.end_lineno or stmt.lineno)
    return range(stmt.lineno, last + 1)


def is_docstring(stmt: ast.stmt) -> bool:
    return (
        isinstance(stmt, ast.Expr)
        and isinstance(stmt.value, ast.Constant)
        and isinstance(stmt.value.value, str)
    )
