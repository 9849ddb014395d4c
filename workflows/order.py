"""Who runs before whom: layers, circles, and what can never run in the same course of a workflow."""

from collections.abc import Iterable, Mapping
from functools import cached_property

from workflows.graph import BranchNode, Node, Workflow, dependencies


class Order:
    """The partial order of a workflow's steps. Steps on a circle, and what waits for them, have no layer."""

    def __init__(self, workflow: Workflow) -> None:
        self.nodes: Mapping[str, Node] = {node.id: node for node in workflow.nodes}
        self.needs = {name: dependencies(node) & self.nodes.keys() for name, node in self.nodes.items()}

    @cached_property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Ids by distance from the inputs, each layer sorted."""
        waits = {name: len(needed) for name, needed in self.needs.items()}
        followers: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, needed in self.needs.items():
            for other in needed:
                followers[other].append(name)
        found, ready = [], sorted(name for name, count in waits.items() if count == 0)
        while ready:
            found.append(tuple(ready))
            free = set()
            for name in ready:
                for other in followers[name]:
                    waits[other] -= 1
                    if waits[other] == 0:
                        free.add(other)
            ready = sorted(free)
        return tuple(found)

    @cached_property
    def sequence(self) -> tuple[str, ...]:
        return tuple(name for layer in self.layers for name in layer)

    @cached_property
    def before(self) -> Mapping[str, frozenset[str]]:
        """Everything that is over when a step starts."""
        found: dict[str, frozenset[str]] = {}
        for name in self.sequence:
            needed = self.needs[name]
            found[name] = needed.union(*(found[other] for other in needed))
        return found

    @cached_property
    def circles(self) -> frozenset[str]:
        """Steps that wait for themselves."""
        stuck = self.nodes.keys() - set(self.sequence)
        return frozenset(name for name in stuck if name in self._reached(self.needs[name], within=stuck))

    @cached_property
    def conditions(self) -> Mapping[str, frozenset[tuple[str, str]]]:
        """Branch and arm of every choice that a step depends on: its own, and those of what it can't do without. A
        merge can."""
        found: dict[str, frozenset[tuple[str, str]]] = {}
        for name in self.sequence:
            node = self.nodes[name]
            own = frozenset({_choice(node.when)}) if node.when else frozenset()
            inherited = () if node.kind == "merge" else self.needs[name]
            found[name] = own.union(*(found[other] for other in inherited))
        return found

    def exclusive(self, one: str, other: str) -> bool:
        """They need different arms of one branch: never both in one course."""
        mine, theirs = dict(self.conditions[one]), dict(self.conditions[other])
        return any(branch in theirs and theirs[branch] != arm for branch, arm in mine.items())

    def needed_by(self, names: Iterable[str]) -> frozenset[str]:
        """The named steps and all that they wait for."""
        return frozenset(names) | self._reached(names)

    def _reached(self, names: Iterable[str], within: Iterable[str] | None = None) -> frozenset[str]:
        allowed = self.nodes.keys() if within is None else frozenset(within)
        seen: set[str] = set()
        waiting = [name for name in names if name in allowed]
        if within is None:
            waiting = [other for name in waiting for other in self.needs[name]]
        while waiting:
            name = waiting.pop()
            if name in allowed and name not in seen:
                seen.add(name)
                waiting.extend(self.needs[name])
        return frozenset(seen)


def arms(node: Node | None) -> tuple[str, ...]:
    return node.names if isinstance(node, BranchNode) else ()


def _choice(when: str) -> tuple[str, str]:
    branch, _, arm = when.partition(".")
    return branch, arm
