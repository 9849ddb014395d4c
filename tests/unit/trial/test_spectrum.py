"""Blame by coverage: the formula, the order, and what a perfect suspect looks like."""

import math

from hypothesis import given
from hypothesis import strategies as st

from trial.spectrum import rank

runs = st.lists(
    st.dictionaries(st.sampled_from(["a.py", "b.py"]), st.frozensets(st.integers(1, 9), max_size=6)),
    max_size=5,
)


def test_the_published_example_by_hand() -> None:
    failing = [{"a.py": [1, 2, 7]}, {"a.py": [1, 7]}]
    passing = [{"a.py": [1, 2]}, {"a.py": [1]}]
    found = rank(failing, passing)
    assert [(one.line, one.failed, one.passed) for one in found] == [(7, 2, 0), (1, 2, 2), (2, 1, 1)]
    scores = [1.0, 2 / math.sqrt(2 * 4), 1 / math.sqrt(2 * 2)]
    assert all(math.isclose(one.score, score) for one, score in zip(found, scores, strict=True))


@given(runs, runs)
def test_every_failing_line_once_in_a_stable_order(
    failing: list[dict[str, frozenset[int]]], passing: list[dict[str, frozenset[int]]]
) -> None:
    found = rank(failing, passing)
    assert {(one.file, one.line) for one in found} == {
        (f, n) for run in failing for f, ns in run.items() for n in ns
    }
    assert len(found) == len({(one.file, one.line) for one in found})
    assert found == sorted(found, key=lambda one: (-one.score, one.file, one.line))
    assert found == rank(failing[::-1], passing[::-1])
    for one in found:
        assert 0 < one.score <= 1 + 1e-12
        assert (abs(one.score - 1) < 1e-12) == (one.failed == len(failing) and one.passed == 0)
