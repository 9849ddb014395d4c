"""Which lines to look at: given suspects, a spectrum of covered lines, or what the failure itself names."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from evolve.mend.index import Index
from evolve.mend.outcome import Outcome
from evolve.mend.scope import bound_names
from evolve.mend.source import FunctionNode, Module, header_lines

Scores = dict[tuple[str, int], float]
PHASE = re.compile(r" \((setup|call|teardown)\)$")
FRAME = re.compile(r'File "([^"]+)", line (\d+)|^([\w./-]+\.py):(\d+):', re.MULTILINE)
UNTESTED = 0.05
"""Score of a line that runs outside of every test, at import mostly."""


def read_suspects(path: Path) -> Scores:
    """JSON lines {file, line, score}; raises ValueError naming the bad line."""
    scores: Scores = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            scores[str(record["file"]), int(record["line"])] = float(record["score"])
        except (ValueError, KeyError, TypeError) as problem:
            raise ValueError(f"{path}:{number}: {problem}") from problem
    return scores


def read_spectrum(path: Path) -> dict[str, set[tuple[str, int]]]:
    """Test id -> lines it ran; "" stands for lines that ran outside of a test."""
    found: dict[str, set[tuple[str, int]]] = defaultdict(set)
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return {}
    for record in text.splitlines():
        parts = record.split("\t")
        if len(parts) == 3 and parts[2].isdigit():
            found[PHASE.sub("", parts[0])].add((parts[1], int(parts[2])))
    return found


def ochiai(spectrum: Mapping[str, set[tuple[str, int]]], failing: Iterable[str]) -> Scores:
    """Suspicion of every line that a failing test runs. Without results all lines that ran count alike."""
    failed = sorted(set(failing) & set(spectrum))
    tests = [t for t in spectrum if t]
    if not failed:
        return {place: 1.0 for lines in spectrum.values() for place in lines}
    scores: Scores = dict.fromkeys(spectrum.get("", ()), UNTESTED)
    in_failed: dict[tuple[str, int], int] = defaultdict(int)
    in_passed: dict[tuple[str, int], int] = defaultdict(int)
    for test in tests:
        for place in spectrum[test]:
            (in_failed if test in failed else in_passed)[place] += 1
    for place, hits in in_failed.items():
        scores[place] = hits / math.sqrt(len(failed) * (hits + in_passed[place]))
    return scores


def with_tracebacks(scores: Scores, outcome: Outcome, root: str, known: Mapping[str, Module]) -> Scores:
    """Lines that the failure's own output names are more suspicious, the innermost most."""
    result = dict(scores)
    named: list[tuple[str, int]] = []
    for match in FRAME.finditer(outcome.output):
        name, line = (match[1], match[2]) if match[1] else (match[3], match[4])
        name = name.removeprefix(root.rstrip("/") + "/")
        if name in known:
            named.append((name, int(line)))
    for place in named:
        result[place] = min(1.2, max(result.get(place, 0.5), 0.5) + 0.3)
    return result


def statement_scores(index: Index, scores: Scores) -> list[tuple[float, str, int, int]]:
    """(score, file, line, position in the module's statements) of every statement, most suspicious first.

    A definition takes part of what it defines: a default, class attribute or module container is evaluated
    once, outside of the failing test, and still may be the fault.
    """
    ranked: list[tuple[float, str, int, int]] = []
    for path, module in index.modules.items():
        own = [
            max((scores.get((path, n), 0.0) for n in header_lines(s)), default=0.0) for s in module.statements
        ]
        best: dict[str, float] = defaultdict(float)
        for position, stmt in enumerate(module.statements):
            if not isinstance(stmt, FunctionNode):
                for name in _read_names(stmt):
                    best[name] = max(best[name], own[position])
        for position, stmt in enumerate(module.statements):
            score = own[position]
            if isinstance(stmt, FunctionNode):
                inner = [
                    scores.get((path, n), 0.0) for n in range(stmt.lineno + 1, (stmt.end_lineno or 0) + 1)
                ]
                score = max(score, 0.6 * max(inner, default=0.0))
            elif module.function_of(stmt) is None:
                score = max([score, *(0.6 * best[n] for n in bound_names(stmt))])
            ranked.append((-score, path, stmt.lineno, position))
    return [(-score, path, line, position) for score, path, line, position in sorted(ranked)]


def _read_names(stmt: object) -> set[str]:
    import ast

    from evolve.mend.source import own_nodes

    assert isinstance(stmt, ast.stmt)
    nodes = list(own_nodes(stmt))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return names | {n.attr for n in nodes if isinstance(n, ast.Attribute)}
