"""Guards put in front of a statement, or a statement put under a condition."""

import ast
from collections.abc import Iterator
from functools import cache

from evolve.mend.edit import Edit
from evolve.mend.index import Index, dotted
from evolve.mend.operators.common import adapted, insertion, lines_edit, step, variables_here
from evolve.mend.scope import Scope, free_names
from evolve.mend.source import FunctionNode, Module, is_docstring, own_exprs

LIMIT = 14


def propose(module: Module, node: ast.stmt, scope: Scope, index: Index) -> Iterator[Edit]:
    """`if …: return/continue/raise` in front of the statement, `if …:` around it."""
    if isinstance(node, ast.Import | ast.ImportFrom | FunctionNode | ast.ClassDef) or is_docstring(node):
        return
    if scope.function is None:
        return
    ranked = sorted(conditions(node, scope, index).items(), key=lambda item: (-item[1], item[0]))[:LIMIT]
    exits = list(_exits(module, node, scope, index))
    for rank, (condition, weight) in enumerate(ranked):
        for action, prior in exits:
            text = f"if {condition}:\n{step(module)}{action}"
            span = insertion(module, node, text)
            if span is not None:
                score = prior * weight / (1 + 0.06 * rank)
                yield from lines_edit(module, node, [span], "guard.exit", score, risk=0.3)
        yield from _under(module, node, condition, 0.4 * weight / (1 + 0.06 * rank))


def conditions(stmt: ast.stmt, scope: Scope, index: Index) -> dict[str, float]:
    """Conditions that make sense here, weighted: None and emptiness checks of what the statement uses, and
    what the repository asks elsewhere."""
    used = set(free_names(stmt))
    used |= {name for n in ast.walk(stmt) if (name := _self_attribute(n, scope)) is not None}
    found: dict[str, float] = {}

    def offer(text: str, weight: float) -> None:
        found[text] = max(weight, found.get(text, 0.0))

    variables = variables_here(scope)
    for name in variables:
        if name in used:
            for pattern, weight in (
                ("{} is None", 0.7),
                ("not {}", 0.75),
                ("{}", 0.4),
                ("{} is not None", 0.35),
            ):
                offer(pattern.format(name), weight)
    for key in variables[:6]:
        for owner in variables[:10]:
            if key != owner and key in used and "[]" in index.features[scope.module.path].get(owner, ()):
                offer(f"{key} not in {owner}", 0.35)
                offer(f"{key} in {owner}", 0.4)
    for mined in index.conditions:
        for text, factor in adapted(mined, scope, index, limit=1):
            near = 0.15 * (mined.module == scope.module.path)
            common = len(mined.free & used) / max(1, len(mined.free))
            offer(text, factor * (0.3 + near + 0.4 * common))
            if factor == 1.0:
                offer(negated(text), 0.8 * factor * (0.3 + near + 0.4 * common))
    return found


def _self_attribute(node: ast.AST, scope: Scope) -> str | None:
    name = dotted(node) if isinstance(node, ast.Attribute) else None
    return name if name is not None and name.split(".")[0] == scope.self_name else None


@cache
def negated(text: str) -> str:
    """The opposite of a condition, without a double `not`."""
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:  # a text that only parses in its own place
        return f"not ({text})"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ast.unparse(node.operand)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        opposite: dict[type[ast.cmpop], ast.cmpop] = {
            ast.Is: ast.IsNot(),
            ast.IsNot: ast.Is(),
            ast.In: ast.NotIn(),
            ast.NotIn: ast.In(),
            ast.Eq: ast.NotEq(),
            ast.NotEq: ast.Eq(),
            ast.Lt: ast.GtE(),
            ast.GtE: ast.Lt(),
            ast.Gt: ast.LtE(),
            ast.LtE: ast.Gt(),
        }
        return ast.unparse(ast.Compare(node.left, [opposite[type(node.ops[0])]], node.comparators))
    simple = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return f"not {text}" if simple else f"not ({text})"


def _exits(module: Module, stmt: ast.stmt, scope: Scope, index: Index) -> Iterator[tuple[str, float]]:
    if module.loop_of(stmt) is not None:
        yield "continue", 0.45
        yield "break", 0.25
    own = [
        r
        for r in index.returns
        if scope.function and r.function == scope.function.name and r.module == module.path
    ]
    generator = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(scope.function or stmt))
    if generator or not own:
        yield "return", 0.4
        return
    texts = [r.text for r in own if r.free <= scope.visible and len(r.text) < 60 and "\n" not in r.text]
    texts += ["None", *variables_here(scope)[:2]]
    for rank, text in enumerate(list(dict.fromkeys(texts))[:4]):
        yield f"return {text}", 0.4 / (1 + 0.35 * rank)
    raised = [e for e in index.statements if isinstance(e.node, ast.Raise) and e.free <= scope.visible]
    near = [e for e in raised if e.module == module.path and "\n" not in e.text]
    for mined in near[:2]:
        yield mined.text, 0.2


def _under(module: Module, stmt: ast.stmt, condition: str, prior: float) -> Iterator[Edit]:
    lines = module.lines(stmt)
    text = module.block_text(stmt, module.indent(stmt) + step(module))
    if lines is None or text is None or isinstance(stmt, ast.Return | ast.Pass):
        return
    binds_only = isinstance(stmt, ast.Assign) and not any(isinstance(e, ast.Call) for e in own_exprs(stmt))
    new = f"{module.indent(stmt)}if {condition}:{module.newline}{text}"
    yield from lines_edit(
        module, stmt, [(*lines, new)], "guard.under", prior * (0.6 if binds_only else 1.0), risk=0.2
    )
