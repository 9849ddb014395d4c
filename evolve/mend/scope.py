"""Which names a statement can use, nearest first."""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from evolve.mend.source import FunctionNode, Module

BUILTINS = frozenset(dir(builtins))
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def bound_names(node: ast.AST) -> Iterator[str]:
    """Names that `node` binds in its own scope, in order of appearance."""
    todo: list[ast.AST] = [node]
    while todo:
        at = todo.pop(0)
        if at is not node and isinstance(at, FunctionNode | ast.ClassDef):
            yield at.name
            continue
        if isinstance(at, ast.Name) and isinstance(at.ctx, ast.Store):
            yield at.id
        elif isinstance(at, ast.alias):
            yield (at.asname or at.name).split(".")[0]
        elif isinstance(at, ast.ExceptHandler) and at.name:
            yield at.name
        inner = () if isinstance(at, ast.Lambda | COMPREHENSIONS) else ast.iter_child_nodes(at)
        todo[:0] = list(inner)


def free_names(node: ast.AST) -> frozenset[str]:
    """Names that `node` reads and does not bind itself."""
    read = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    bound: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.comprehension):
            bound |= {n.id for n in ast.walk(inner.target) if isinstance(n, ast.Name)}
        elif isinstance(inner, ast.arg):
            bound.add(inner.arg)
    return frozenset(read - bound)


@dataclass(frozen=True)
class Scope:
    """What can be named at one statement."""

    module: Module
    stmt: ast.stmt

    @cached_property
    def function(self) -> FunctionNode | None:
        return self.module.function_of(self.stmt)

    @cached_property
    def klass(self) -> ast.ClassDef | None:
        return self.module.class_of(self.stmt)

    @cached_property
    def is_async(self) -> bool:
        return isinstance(self.function, ast.AsyncFunctionDef)

    @cached_property
    def params(self) -> list[str]:
        """Parameters of the functions around, innermost first, the instance last."""
        found: list[str] = []
        function = self.function
        while function is not None:
            args = function.args
            every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
            found += [a.arg for a in every]
            found += [a.arg for a in (args.vararg, args.kwarg) if a is not None]
            function = self.module.function_of(function)
        return list(dict.fromkeys(found))

    @cached_property
    def locals(self) -> list[str]:
        """Names bound in the functions around before this line, the latest first."""
        found: list[tuple[int, str]] = []
        function = self.function
        while function is not None:
            for stmt in function.body:
                for inner in ast.walk(stmt):
                    earlier = getattr(inner, "lineno", self.stmt.lineno) < self.stmt.lineno
                    if earlier and isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                        found.append((-inner.lineno, inner.id))
                    elif earlier and isinstance(inner, ast.ExceptHandler) and inner.name:
                        around = self.stmt.lineno <= (inner.end_lineno or 0)
                        found += [(-inner.lineno, inner.name)] if around else []
            function = self.module.function_of(function)
        return list(dict.fromkeys(name for _, name in sorted(found)))

    @cached_property
    def self_name(self) -> str | None:
        function = self.function
        while function is not None:
            owner = self.module.parents.get(function)
            if isinstance(owner, ast.ClassDef) and function.args.args:
                static = any(
                    isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list
                )
                return None if static else function.args.args[0].arg
            function = self.module.function_of(function)
        return None

    @cached_property
    def self_attributes(self) -> list[str]:
        """Attributes that the class sets on its instances or declares in its body."""
        if self.klass is None or self.self_name is None:
            return []
        found: list[str] = []
        for node in ast.walk(self.klass):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found += [node.attr] if _is_name(node.value, self.self_name) else []
        for stmt in self.klass.body:
            target = stmt.target if isinstance(stmt, ast.AnnAssign) else None
            names = stmt.targets if isinstance(stmt, ast.Assign) else [target] if target else []
            found += [n.id for n in names if isinstance(n, ast.Name)]
        return list(dict.fromkeys(found))

    @cached_property
    def module_names(self) -> list[str]:
        return list(dict.fromkeys(n for stmt in self.module.tree.body for n in _bound_by(stmt)))

    @cached_property
    def module_callables(self) -> frozenset[str]:
        kinds = (*FunctionNode.__args__, ast.ClassDef)
        return frozenset(s.name for s in self.module.tree.body if isinstance(s, kinds))

    @cached_property
    def loop_targets(self) -> list[str]:
        """Targets of the loops around, innermost first."""
        found: list[str] = []
        up = self.module.parents.get(self.stmt)
        while up is not None and not isinstance(up, FunctionNode):
            if isinstance(up, ast.For | ast.AsyncFor):
                found += [n.id for n in ast.walk(up.target) if isinstance(n, ast.Name)]
            up = self.module.parents.get(up)
        return found

    @cached_property
    def variables(self) -> list[str]:
        """What stands for values here: locals, parameters, attributes of self, module constants."""
        skip = {self.self_name, "_", "cls"}
        names = [n for n in (*self.loop_targets, *self.locals, *self.params) if n not in skip]
        attributes = [f"{self.self_name}.{a}" for a in self.self_attributes]
        constants = [
            n for n in self.module_names if n not in self.module_callables and n not in self.imported
        ]
        return list(dict.fromkeys([*names, *attributes, *constants]))

    @cached_property
    def imported(self) -> frozenset[str]:
        stmts = [s for s in self.module.nodes if isinstance(s, ast.Import | ast.ImportFrom)]
        return frozenset(n for s in stmts for n in bound_names(s))

    @cached_property
    def visible(self) -> frozenset[str]:
        """Every plain name that resolves here."""
        return frozenset([*self.params, *self.locals, *self.module_names]) | BUILTINS


def _bound_by(stmt: ast.stmt) -> Iterator[str]:
    if isinstance(stmt, FunctionNode | ast.ClassDef):
        yield stmt.name
    else:
        yield from bound_names(stmt)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
