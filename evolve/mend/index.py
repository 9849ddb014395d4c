"""What the repository itself says: conditions, statements, attributes, keys, callers. Edits draw on it."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from evolve.mend.scope import free_names
from evolve.mend.source import FunctionNode, Module, header_lines, is_docstring

WORD = re.compile(r"[A-Za-z_]+|\S")
SIMPLE = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr | ast.Delete | ast.Raise | ast.Assert


@dataclass(frozen=True)
class Mined:
    """A piece of source found somewhere in the repository."""

    text: str
    node: ast.AST
    free: frozenset[str]
    module: str
    function: str
    line: int
    before: str = ""
    """The statement in front of it in its block, as text: a hint at the context it belongs to."""
    after: str = ""

    @cached_property
    def awaits(self) -> bool:
        return any(isinstance(n, ast.Await | ast.AsyncFor | ast.AsyncWith) for n in ast.walk(self.node))

    @cached_property
    def words(self) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Of the piece itself, of what is in front of it, and of what follows."""
        return words(self.text), words(self.before), words(self.after)


def words(text: str) -> frozenset[str]:
    """Names and signs of a piece of source."""
    return frozenset(WORD.findall(text))


@dataclass(frozen=True)
class Signature:
    """How a function of the repository can be called."""

    name: str
    module: str
    params: tuple[str, ...]
    required: int
    keywords: tuple[str, ...]
    method: bool
    is_async: bool


@dataclass
class Index:
    """Everything mined; sorted by file and line, so that the same repository gives the same index."""

    modules: dict[str, Module] = field(default_factory=dict)
    conditions: list[Mined] = field(default_factory=list)
    statements: list[Mined] = field(default_factory=list)
    headers: list[Mined] = field(default_factory=list)
    """Headers of with statements."""
    returns: list[Mined] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    constants: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """(module, type name) -> how often each constant stands there."""
    attributes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Last name of an object -> attributes used on it."""
    keys: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Last name of an object -> constant keys used on it."""
    keywords: dict[str, dict[str, Counter[str]]] = field(default_factory=lambda: defaultdict(dict))
    """Last name of a callee -> keyword -> values that callers give."""
    signatures: dict[str, list[Signature]] = field(default_factory=lambda: defaultdict(list))
    features: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """module -> variable -> how it is used: what makes two variables look alike."""
    likenesses: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """What `likeness` answered: it is asked the same some thousand times."""


def last_name(node: ast.AST | None) -> str:
    """`a.b.c` -> `c`, `f(x)` -> `f`, `x[0]` -> `x`: the word that tells most about an object."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Subscript | ast.Await | ast.Starred):
        return last_name(node.value)
    return ""


def dotted(node: ast.AST) -> str | None:
    """`a` and `self.b` as text; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return None


def build_index(modules: Iterable[Module]) -> Index:
    """Mine all modules."""
    index = Index()
    for module in sorted(modules, key=lambda m: m.path):
        index.modules[module.path] = module
        for stmt in module.statements:
            _mine_statement(index, module, stmt)
        index.features[module.path] = usage(module)
        for node in module.nodes:
            _mine_node(index, module, node)
    index.exceptions = list(dict.fromkeys(index.exceptions))
    return index


def _mined(module: Module, node: ast.expr | ast.stmt, text: str | None = None) -> Mined:
    function = module.function_of(node)
    name = function.name if function is not None else ""
    before = after = ""
    if isinstance(node, ast.stmt):
        place = module.places[node]
        before = _header(module, place.block[place.position - 1]) if place.position else ""
        follows = place.position + 1 < len(place.block)
        after = _header(module, place.block[place.position + 1]) if follows else ""
    source = module.text(node) if text is None else text
    if isinstance(node, ast.expr) and "\n" in source:
        source = ast.unparse(node)
    return Mined(source, node, free_names(node), module.path, name, node.lineno, before, after)


def _header(module: Module, stmt: ast.stmt) -> str:
    last = header_lines(stmt)[-1]
    end = module.starts[last] if last < len(module.starts) else len(module.data)
    return module.data[module.span(stmt)[0] : end].decode("utf-8", "replace").strip()


def _mine_statement(index: Index, module: Module, stmt: ast.stmt) -> None:
    if isinstance(stmt, FunctionNode):
        index.signatures[stmt.name].append(_signature(module, stmt))
    if module.function_of(stmt) is None:
        return
    if (isinstance(stmt, SIMPLE) and not is_docstring(stmt)) or (
        isinstance(stmt, ast.If) and not stmt.orelse and (stmt.end_lineno or 0) - stmt.lineno <= 2
    ):
        index.statements.append(_mined(module, stmt))
    if isinstance(stmt, ast.Return) and stmt.value is not None:
        index.returns.append(_mined(module, stmt.value))
    if isinstance(stmt, ast.With | ast.AsyncWith):
        items = ", ".join(module.text(i.context_expr) for i in stmt.items if i.optional_vars is None)
        if items and all(i.optional_vars is None for i in stmt.items):
            word = "async with" if isinstance(stmt, ast.AsyncWith) else "with"
            free = frozenset().union(*(free_names(i.context_expr) for i in stmt.items))
            function = module.function_of(stmt)
            name = function.name if function else ""
            index.headers.append(Mined(f"{word} {items}:", stmt, free, module.path, name, stmt.lineno))


def _signature(module: Module, function: FunctionNode) -> Signature:
    args = function.args
    method = isinstance(module.parents.get(function), ast.ClassDef)
    every = [a.arg for a in (*args.posonlyargs, *args.args)]
    params = tuple(every[1:] if method and every else every)
    required = max(0, len(params) - len(args.defaults))
    keywords = tuple(a.arg for a in args.kwonlyargs)
    is_async = isinstance(function, ast.AsyncFunctionDef)
    return Signature(function.name, module.path, params, required, keywords, method, is_async)


def _mine_node(index: Index, module: Module, node: ast.AST) -> None:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        _mine_condition(index, module, node.test)
    elif isinstance(node, ast.comprehension):
        for test in node.ifs:
            _mine_condition(index, module, test)
    elif isinstance(node, ast.Constant) and not isinstance(node.value, bytes):
        if not (isinstance(node.value, str) and len(node.value) > 60):
            index.constants[module.path, type(node.value).__name__][repr(node.value)] += 1
    elif isinstance(node, ast.Attribute):
        index.attributes[last_name(node.value)][node.attr] += 1
    elif isinstance(node, ast.Subscript):
        if isinstance(node.slice, ast.Constant):
            index.keys[last_name(node.value)][repr(node.slice.value)] += 1
    elif isinstance(node, ast.Call):
        _mine_call(index, module, node)
    elif isinstance(node, ast.ExceptHandler) and node.type is not None:
        index.exceptions.append(module.text(node.type))
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        index.exceptions.append(module.text(node.exc.func))
    elif isinstance(node, ast.Dict):
        parent = module.parents.get(node)
        target = parent.targets[0] if isinstance(parent, ast.Assign) else None
        for key in node.keys:
            if isinstance(key, ast.Constant):
                index.keys[last_name(target)][repr(key.value)] += 1


def _mine_condition(index: Index, module: Module, test: ast.expr) -> None:
    for part in [test, *(test.values if isinstance(test, ast.BoolOp) else [])]:
        binds = any(isinstance(n, ast.NamedExpr | ast.Await) for n in ast.walk(part))
        if not isinstance(part, ast.Constant) and not binds:
            index.conditions.append(_mined(module, part))


def _mine_call(index: Index, module: Module, node: ast.Call) -> None:
    name = last_name(node.func)
    for keyword in node.keywords:
        if keyword.arg is not None:
            values = index.keywords[name].setdefault(keyword.arg, Counter())
            values[module.text(keyword.value)] += 1
    get = isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop", "setdefault")
    if get and node.args and isinstance(node.args[0], ast.Constant):
        assert isinstance(node.func, ast.Attribute)
        index.keys[last_name(node.func.value)][repr(node.args[0].value)] += 1


def usage(module: Module) -> dict[str, set[str]]:
    """How each variable of a module is used: called, iterated, which attributes, compared with what."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in module.nodes:
        name = dotted(node)
        if name is None:
            continue
        parent = module.parents.get(node)
        if isinstance(parent, ast.Attribute):
            found[name].add(f".{parent.attr}")
        elif isinstance(parent, ast.Call) and parent.func is node:
            found[name].add("()")
        elif isinstance(parent, ast.Call):
            found[name].add(f"arg {last_name(parent.func)}")
        elif isinstance(parent, ast.Subscript):
            found[name].add("[]" if parent.value is node else "key")
        elif isinstance(parent, ast.For | ast.AsyncFor | ast.comprehension):
            found[name].add("iter" if parent.iter is node else f"of {last_name(parent.iter)}")
        elif isinstance(parent, ast.Assign) and node in parent.targets:
            found[name].add(f"= {type(parent.value).__name__} {last_name(parent.value)}")
        elif parent is not None:
            found[name].add(type(parent).__name__)
    return found


def likeness(index: Index, module: str, left: str, right: str) -> float:
    """0 to 1: how interchangeable two variables of a module look, by use and by name."""
    key = (module, left, right)
    if key not in index.likenesses:
        index.likenesses[key] = _likeness(index, module, left, right)
    return index.likenesses[key]


def _likeness(index: Index, module: str, left: str, right: str) -> float:
    uses = index.features.get(module, {})
    one, two = uses.get(left, set()), uses.get(right, set())
    used = len(one & two) / len(one | two) if one | two else 0.0
    a, b = set(left.lower().replace(".", "_").split("_")), set(right.lower().replace(".", "_").split("_"))
    named = len(a & b) / len(a | b)
    prefix = 0.2 if left.split(".")[-1][:3] == right.split(".")[-1][:3] else 0.0
    return min(1.0, 0.6 * used + 0.3 * named + prefix)
