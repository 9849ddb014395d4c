"""Runs candidates: several at once, results in order, nothing twice, nothing that does not compile."""

import ast
import hashlib
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from evolve.mend.edit import Edit, Overlap, apply_edits
from evolve.mend.outcome import Outcome
from evolve.mend.runner import Runner

Edits = tuple[Edit, ...]
LONGER = 5.0
"""The limit comes from runs that fail, and may end at the first failure, where one that passes runs everything: a run
that is cut off may have a second one with so many times the limit."""
SECOND_SHARE = 0.1
"""Share of the budget that second runs may take."""


@dataclass
class Evaluator:
    """`sources` are the files as they are; `failing` the tests that fail on them."""

    runner: Runner
    sources: Mapping[str, bytes]
    failing: frozenset[str]
    limit: float
    deadline: float
    """By time.monotonic()."""
    spare: float = 0.0
    """Seconds that second runs may take together."""
    runs: int = 0
    tried: int = 0
    seen: dict[str, Outcome | None] = field(default_factory=dict)
    """Tree hash -> outcome; None while it runs, or for a tree that is not worth a run."""

    def __post_init__(self) -> None:
        self.seen[tree_hash(self.sources, {})] = None

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def prepared(self, edits: Edits) -> tuple[str, dict[str, bytes]] | None:
        """Tree hash and changed files; None for edits that collide or do not compile."""
        try:
            changed = apply_edits(self.sources, edits)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return tree_hash(self.sources, changed), changed
        except (Overlap, SyntaxError, ValueError, RecursionError):
            return None

    def stream(self, candidates: Iterable[Edits]) -> Iterator[tuple[Edits, Outcome]]:
        """Outcomes in the order of the candidates, doubles left out; ends with the budget."""
        with ThreadPoolExecutor(self.runner.jobs) as pool:
            flying: deque[tuple[Edits, str, Future[Outcome]]] = deque()
            source = iter(candidates)
            try:
                while self.left() > 0:
                    while len(flying) < self.runner.jobs and (ready := self._next(source)) is not None:
                        edits, tree, changed = ready
                        flying.append((edits, tree, pool.submit(self._run, changed)))
                    if not flying:
                        return
                    edits, tree, future = flying.popleft()
                    outcome = future.result()
                    self.seen[tree] = outcome
                    self.tried += 1
                    yield edits, outcome
            finally:
                stuck = [future for _, _, future in flying if not future.cancel() and not future.done()]
                if stuck:
                    self.runner.abort()

    def one(self, edits: Edits) -> Outcome | None:
        """The outcome of one set of edits, remembered where it was run before; None if it can't be run."""
        ready = self.prepared(edits)
        if ready is None:
            return None
        tree, changed = ready
        if self.seen.get(tree) is None:
            if tree in self.seen:
                return None
            self.seen[tree] = self._run(changed)
            self.tried += 1
        return self.seen[tree]

    def confirm(self, edits: Edits) -> bool:
        """Whether the whole command passes once more, without an order of tests or an early end."""
        ready = self.prepared(edits)
        if ready is None:
            return False
        self.runs += 1
        return self.runner.run(ready[1], limit=self.limit).passed

    def gain(self, outcome: Outcome) -> float:
        """Share of the failing tests that pass now, less what broke; 1 is a full pass."""
        if outcome.passed:
            return 1.0
        if not self.failing or not outcome.tests:
            return 0.0
        fixed = sum(1 for test in self.failing if outcome.tests.get(test, False))
        broke = len(outcome.failing - self.failing)
        return max(-1.0, min(0.99, (fixed - broke) / len(self.failing)))

    def _next(self, source: Iterator[Edits]) -> tuple[Edits, str, dict[str, bytes]] | None:
        for edits in source:
            ready = self.prepared(edits)
            if ready is not None and ready[0] not in self.seen:
                self.seen[ready[0]] = None
                return edits, *ready
            if self.left() <= 0:
                break
        return None

    def _run(self, changed: Mapping[str, bytes]) -> Outcome:
        outcome = self._limited(changed, self.limit)
        if outcome.exit_code is not None or self.spare < self.limit:
            return outcome
        longer = self._limited(changed, min(LONGER * self.limit, self.spare))
        self.spare -= longer.seconds
        if longer.exit_code is not None:
            self.limit = max(self.limit, 2 * longer.seconds)
        return longer

    def _limited(self, changed: Mapping[str, bytes], limit: float) -> Outcome:
        self.runs += 1
        limit = max(1.0, min(limit, self.left() + 1.0))
        return self.runner.run(changed, first=sorted(self.failing), limit=limit)


def tree_hash(sources: Mapping[str, bytes], changed: Mapping[str, bytes]) -> str:
    """A hash of what the changed files mean; what is as it was does not count. Raises SyntaxError."""
    parts = hashlib.sha256()
    for name in sorted(changed):
        if changed[name] == sources[name]:
            continue
        tree = ast.parse(changed[name])
        compile(tree, name, "exec", dont_inherit=True)
        parts.update(f"{name}\0{ast.dump(tree)}\0".encode("utf-8", "surrogatepass"))
    return parts.hexdigest()
