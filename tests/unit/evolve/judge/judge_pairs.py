"""Pairs of replies, drawn and made, for the tests of the judge."""

from hypothesis import strategies as st

from evidence.cases import RecordedTurn, VisibleCase
from evolve.judge.models import LEVELS, Pair, Pairs, ScoresAnswer
from evolve.judge.sheet import numbered

WORDS = st.text(min_size=1, max_size=40)


def pairs_of(*pairs: Pair, judge: str = "j") -> Pairs:
    return Pairs(judge=judge, keypoints="sha256:0", candidate_id="k", pairs=pairs, alike=())


def visible(case_id: str, asked: str = "add 1 2") -> VisibleCase:
    """Its recorded reply says whose it is: nobody who is blind may see it."""
    turn = RecordedTurn(
        request_id=case_id,
        session="s",
        path="/v1/chat/completions",
        body={"messages": [{"role": "user", "content": asked}]},
        status=200,
        reply={"choices": [{"message": {"content": "as it failed in production"}}]},
    )
    return VisibleCase(id=case_id, evidence_id="e", fingerprint="f", turn=turn)


@st.composite
def some_pairs(draw: st.DrawFn) -> Pairs:
    found = [
        Pair(
            case_id=f"id{number}",
            points=tuple(draw(st.lists(WORDS, min_size=3, max_size=7))),
            baseline=draw(WORDS),
            candidate=draw(WORDS),
            mended=draw(st.booleans()),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    return pairs_of(*found)


def fitting(draw: st.DrawFn, pairs: Pairs) -> dict[str, object]:
    """Scores of the right shape, as they would stand in the file."""
    level = st.sampled_from(LEVELS)
    return {
        "cases": {
            name: {letter: {f"k{n}": draw(level) for n in range(1, len(pair.points) + 1)} for letter in "AB"}
            for name, pair in numbered(pairs.pairs)
        }
    }


@st.composite
def pairs_and_scores(draw: st.DrawFn) -> tuple[Pairs, ScoresAnswer, ScoresAnswer]:
    """Two answers, as for the two orders."""
    pairs = draw(some_pairs())
    one, other = (ScoresAnswer.model_validate(fitting(draw, pairs)) for _ in range(2))
    return pairs, one, other
