"""When a run may say that its model is the limit, and when it may not."""

from evolve.archive import Entry
from evolve.stages.models import Evaluated, Explained, RightAnswers
from evolve.stages.verdict import TOLD_CASES, limit_model, plateau


def shown(cases: int = 2, **more: object) -> RightAnswers:
    one = Explained(case_id="c", call="model call 1 of the turn", said="no", put="yes", replays=3)
    explained = tuple(one.model_copy(update={"case_id": f"c{n}"}) for n in range(cases))
    return RightAnswers(explained=explained).model_copy(update=more)


def entry(**scores: float) -> Entry:
    return Entry("a", 1, "mend", "x", (), scores, (), 2, 0, ("app.py",))


def test_every_failing_case_is_explained_and_no_candidate_passed_one() -> None:
    decided = limit_model(shown(), [entry(c0=0.0), entry()])
    assert decided is not None
    assert (decided.word, decided.candidate_id, decided.final) == ("limit_model", None, True)
    assert limit_model(shown(unexplained={"c2": "why"}), []) is None
    assert limit_model(shown(0), []) is None
    assert limit_model(shown(), [entry(c0=0.0), entry(c1=0.5)]) is None


def test_a_few_cases_are_told_and_the_others_counted() -> None:
    few, many = limit_model(shown(TOLD_CASES), []), limit_model(shown(TOLD_CASES + 3), [])
    assert few is not None
    assert many is not None
    assert len(many.reasons) == len(few.reasons) + 1
    assert "and 3 more cases" in many.reasons


def test_at_a_plateau_it_stands_in_the_place_of_needs_work_alone() -> None:
    def ended(word: str) -> list[Evaluated]:
        return [Evaluated(word=word, reasons=("x",), candidate_id=None, gained=(), lost=())]

    limit = limit_model(shown(), [])
    assert plateau(ended("needs_work"), limit) is limit
    assert plateau(ended("needs_work")).word == "needs_work"
    for word in ("cheated", "inconclusive"):
        assert plateau(ended(word), limit).word == word
