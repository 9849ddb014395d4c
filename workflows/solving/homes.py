"""Which part of a request each step is about, told by its tool and by the order in which both stand."""

from collections.abc import Sequence
from itertools import accumulate

from workflows.catalog import Catalog
from workflows.solving.coverage import called_so
from workflows.tool_search import beside_best, clause_spans, relevance

Span = tuple[int, int]
VERB = 1.0
"""What it counts that a clause begins with a word of the tool's name."""


def homes(tools: Sequence[str], catalog: Catalog, text: str) -> list[Span]:
    """For each step the clause, none before that of the step before; of all such ways that in which the tools are most
    about their clauses."""
    spans, about = list[Span](), list[dict[str, float]]()
    for start, end in clause_spans(text):
        fit = relevance(catalog, text[start:end])
        if not fit and spans:  # no clause of its own: `b.txt` of `read a.txt and b.txt`
            spans[-1] = spans[-1][0], end
            continue
        spans.append((start, end))
        about.append(beside_best(fit))
        for tool in tools:
            if (spec := catalog.get(tool)) is not None and called_so(spec, text[start:end]):
                about[-1][tool] = about[-1].get(tool, 0.0) + VERB
    best: list[list[float]] = []
    """By step and clause: the most that the steps so far come to, the last of them in no later clause."""
    for tool in tools:
        before = best[-1] if best else [0.0] * len(spans)
        here = [sofar + clause.get(tool, 0.0) for sofar, clause in zip(before, about, strict=True)]
        best.append(list(accumulate(here, max)))
    found, last = list[Span](), len(spans) - 1
    for sums in reversed(best):
        last = sums.index(sums[last])
        found.append(spans[last])
    return found[::-1]
