"""What a judge thinks reaches the choice when it counts, and leaves it when it does not any more."""

from evolve.archive import rank
from evolve.candidate import Candidate
from evolve.judge.models import Judged, JudgedCase, Word
from evolve.population import Population
from evolve.stage import Place
from evolve.stages.models import Built, Screened


def candidate(name: str) -> Candidate:
    return Candidate(
        id=name,
        run_id="r",
        batch_digest="sha256:0",
        base_commit="b",
        base_image="sha256:0",
        commit=name,
        image="sha256:1",
        diff_sha256=name,
        files=("app.py",),
        lines_added=1,
        lines_removed=1,
        coder="c",
        seed=1,
    )


def judged(name: str, *words: Word) -> Judged:
    cases = tuple(
        JudgedCase(case_id=f"case{n}", mended=False, word=word, points=()) for n, word in enumerate(words)
    )
    return Judged(candidate_id=name, judge="j", keypoints="sha256:0", cases=cases, alike=())


def test_equals_are_ordered_by_a_judge_that_counts_alone() -> None:
    population = Population()
    for number, name in enumerate(("first", "second", "third"), 1):
        screened = Screened(scores={"case": 1.0}, lost=(), reasons={}, replies={"case": "7"})
        population.add_candidate(Built(candidate=candidate(name)), screened, Place(1, number, 1), 0)
    assert population.place("second") == Place(1, 2)
    before = population.standing()
    population.judged["second"] = judged("second", "better", "better", "disagree")
    population.judged["third"] = judged("third", "better", "worse", "worse")

    def order() -> list[str]:
        return [entry.id for entry in rank(population.entries)]

    population.weigh_judgements(counts=False)
    assert order() == ["first", "second", "third"]
    assert population.standing() == before
    population.weigh_judgements(counts=True)
    assert order() == ["second", "first", "third"]
    assert population.standing().judged == {"second": 2, "third": -1}
    population.weigh_judgements(counts=False)
    assert population.standing() == before
