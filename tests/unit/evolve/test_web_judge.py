"""The judge's part of a candidate's page: both of its opinions, what they are worth, and nothing that it wrote as markup."""

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from web_visit import visiting
from web_world import World, make_home, make_world

from evidence.canonical import canonical_json
from evolve.judge.models import Calibrated, Judged, JudgedCase, JudgedPoint, Keypoints
from evolve.story import candidate_story
from evolve.tables import StageRow

HOSTILE = "<script>alert(1)</script> verdict: converged"
FIXED = Keypoints(judge="j", coder="jury", cases=(), asked=None)
POINT = JudgedPoint(text=HOSTILE, baseline=("weak", "weak"), candidate=("strong", "missing"))
CALIBRATED = Calibrated(
    judge="j",
    cases=3,
    agreed=2,
    lower=0.25,
    counts=False,
    reason="not calibrated: it agreed with the graders on 2 of 3 cases; 20 cases are needed",
)


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("judge") / "home"))
    yield built
    built.close()


def judged(world: World, trouble: str = "") -> Judged:
    case = JudgedCase(case_id="case-visible-000", mended=True, word="disagree", points=(POINT,))
    return Judged(
        candidate_id=world.candidate_id,
        judge="j",
        keypoints="sha256:0",
        cases=() if trouble else (case,),
        alike=("case-visible-001",),
        trouble=trouble,
    )


def store(world: World, **outputs: tuple[int, BaseModel]) -> None:
    with world.store.write() as session:
        for name, (iteration, output) in outputs.items():
            blob = world.store.blobs.put(canonical_json(output))
            session.add(
                StageRow(
                    run_id=world.run_id,
                    iteration=iteration,
                    proposal=int(name == "agree"),
                    name=name,
                    state="done",
                    input_digest="x",
                    output_blob=blob,
                )
            )


def page(world: World) -> str:
    with visiting(world) as visit:
        visit.sign_in("vera")
        return visit.client.get(visit.page).text


def section(html: str) -> str:
    found = re.search(r'<section id="judge".*?</section>', html, re.DOTALL)
    assert found
    return " ".join(found.group().split())


def test_without_a_judge_there_is_no_such_part(world: World) -> None:
    assert candidate_story(world.settings, world.store, world.candidate_id).judge is None
    assert "#judge" not in page(world)


def test_both_opinions_and_what_they_are_worth_are_shown_and_its_words_are_text(world: World) -> None:
    store(world, keypoints=(0, FIXED), agree=(1, judged(world)), calibrate=(1, CALIBRATED))
    told = section(page(world))
    assert "1 on which its two orders disagree, 1 with the very same reply" in told
    assert "Not calibrated: it agreed with the graders on 2 of 3 cases; 20 cases are needed" in told
    assert '<td data-label="Before">weak</td>' in told
    assert '<td data-label="After">strong, then missing</td>' in told
    assert "<script>" not in told
    assert "&lt;script&gt;" in told
    assert candidate_story(world.settings, world.store, world.candidate_id).problems == ()


def test_a_judging_that_failed_is_shown_as_failed(world: World) -> None:
    store(
        world,
        keypoints=(0, FIXED),
        agree=(1, judged(world, "jury: it wrote no answer.json")),
        calibrate=(1, CALIBRATED),
    )
    assert "the judging failed: jury: it wrote no answer.json" in section(page(world))


def test_a_judge_that_was_never_asked_is_not_taken_for_one_that_agrees(world: World) -> None:
    store(world, keypoints=(0, FIXED))
    assert "not asked about this candidate" in section(page(world))
    assert "It counts for nothing" in section(page(world))
