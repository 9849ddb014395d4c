"""A map of the substrate, computed from its sources at every plan: modules, who calls whom, and where failing replays pass.

Nothing of it is remembered or written by a model, so it can't be out of date. Python only: other files are named, not read.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evolve.stages.models import Suspect

MAX_BYTES = 64 * 1024
MOST_CALLS = 12


@dataclass
class _Function:
    name: str
    line: int
    end: int
    calls: list[str] = field(default_factory=list)
    score: float = 0.0


@dataclass
class _Module:
    file: str
    purpose: str
    lines: int
    imports: list[str] = field(default_factory=list)
    functions: list[_Function] = field(default_factory=list)


def draw_map(sources: Mapping[str, bytes], suspects: Sequence[Suspect]) -> str:
    """Markdown: the modules on failing paths first, each function with its callees and the highest suspicion of its lines.

    Calls are resolved by name within the substrate, which may name one too many and never invents a function. Capped at
    64 KiB, the least suspicious modules last.
    """
    modules = [_read(file, data) for file, data in sorted(sources.items()) if file.endswith(".py")]
    _mark(modules, suspects)
    known = {function.name.rpartition(".")[2] for module in modules for function in module.functions}
    callers = _callers(modules, known)
    modules.sort(key=lambda module: (-max((f.score for f in module.functions), default=0.0), module.file))
    parts = [
        "# Map of this repository",
        "",
        "Computed from its sources. `!` marks what failing replays execute.",
    ]
    others = [file for file in sorted(sources) if not file.endswith(".py")]
    for module in modules:
        parts += ["", *_shown(module, known, callers)]
    if others:
        parts += ["", "## Other files", "", *(f"- {file}" for file in others)]
    text = "\n".join(parts) + "\n"
    return (
        text
        if len(text.encode()) <= MAX_BYTES
        else text.encode()[:MAX_BYTES].decode("utf-8", "ignore") + "\n(cut)\n"
    )


def _read(file: str, data: bytes) -> _Module:
    text = data.decode("utf-8", "replace")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return _Module(file, "(can't be parsed)", text.count("\n") + 1)
    purpose = (ast.get_docstring(tree) or "").partition("\n")[0]
    module = _Module(file, purpose, text.count("\n") + 1)
    module.imports = sorted({name for node in ast.walk(tree) for name in _imported(node)})
    module.functions = list(_functions(tree, ""))
    return module


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." * node.level + (node.module or "")


def _functions(tree: ast.AST, prefix: str) -> Iterator[_Function]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = [name for inner in ast.walk(node) if (name := _called(inner))]
            yield _Function(
                prefix + node.name, node.lineno, node.end_lineno or node.lineno, list(dict.fromkeys(calls))
            )
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    target = node.func
    return (
        target.id
        if isinstance(target, ast.Name)
        else target.attr
        if isinstance(target, ast.Attribute)
        else ""
    )


def _mark(modules: Sequence[_Module], suspects: Sequence[Suspect]) -> None:
    for module in modules:
        for suspect in suspects:
            if suspect.file != module.file:
                continue
            around = [f for f in module.functions if f.line <= suspect.line <= f.end]
            if around:
                inner = min(around, key=lambda f: f.end - f.line)
                inner.score = max(inner.score, suspect.score)


def _callers(modules: Sequence[_Module], known: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for module in modules:
        for function in module.functions:
            for name in function.calls:
                if name in known:
                    found.setdefault(name, []).append(function.name)
    return found


def _shown(module: _Module, known: set[str], callers: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield f"## {module.file} ({module.lines} lines)"
    if module.purpose:
        yield module.purpose
    if module.imports:
        yield f"imports {', '.join(module.imports)}"
    for function in module.functions:
        mark = f" ! {function.score:.2f}" if function.score > 0 else ""
        calls = [name for name in function.calls if name in known][:MOST_CALLS]
        by = list(dict.fromkeys(callers.get(function.name.rpartition(".")[2], ())))[:MOST_CALLS]
        yield (
            f"- {function.name} {function.line}-{function.end}{mark}"
            + (f"; calls {', '.join(calls)}" if calls else "")
            + (f"; called by {', '.join(by)}" if by else "")
        )
