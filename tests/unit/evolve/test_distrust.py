"""What a reviewer is warned of: each line from a fact, and no line without one."""

from collections.abc import Iterator

import pytest
from web_world import World, make_home, make_world

from evolve.distrust import what_to_distrust
from evolve.judge.models import Calibrated, Judged, JudgedCase, Word
from evolve.judge.shown import JudgeStory
from evolve.story import Story, candidate_story
from evolve.substrate_facts import SubstrateFacts
from trial.report import TrialReport

CALM = SubstrateFacts(known=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("distrust") / "home"))
    yield built
    built.close()


@pytest.fixture(scope="module")
def story(world: World) -> Story:
    return candidate_story(world.settings, world.store, world.candidate_id)


def told(world: World, story: Story, facts: SubstrateFacts = CALM, **changes: object) -> str:
    report: TrialReport | None = story.report.model_copy(update=changes) if story.report else None
    return "\n".join(what_to_distrust(world.settings, story.run, story.proposal, report, None, (), facts))


def test_the_repository_s_facts_are_told_with_their_numbers(world: World, story: Story) -> None:
    lines = story.distrust
    assert any(line.startswith("Hot file: harness/dispatch.py changed in 4 of") for line in lines)
    assert "New dependency: numpy." in lines
    assert any(line.startswith("It may do 1 thing that the live one may not") for line in lines)


def test_what_is_not_there_is_not_told(world: World, story: Story) -> None:
    text = told(world, story)
    for word in ("Hot file", "dependency", "may not", "can't be read", "not made"):
        assert word not in text


def test_an_unreadable_repository_is_no_clean_bill(world: World, story: Story) -> None:
    assert "are not known" in told(world, story, SubstrateFacts(known=False))


def test_checks_that_were_not_made_are_named(world: World, story: Story) -> None:
    assert story.report is not None
    some = tuple(c for c in story.report.checks if c.name != "clock" and not c.name.startswith("guard."))
    assert "Checks that were not made: clock, guard." in told(world, story, checks=some)


def test_what_the_report_cannot_show_is_told_in_its_words(world: World, story: Story) -> None:
    assert "whether it holds in winter" in told(world, story, cannot_show=("whether it holds in winter",))


def test_a_small_sample_is_told_until_it_is_none(world: World, story: Story) -> None:
    assert "Small sample: 12 held-out pairs" in told(world, story)
    assert "Small sample" not in told(world, story, held_out_pairs=20)


def test_a_change_that_makes_writes_less_durable_is_told(world: World, story: Story) -> None:
    def warned(diff: str) -> bool:
        lines = what_to_distrust(world.settings, story.run, story.proposal, None, None, (), CALM, diff=diff)
        return (
            "a.py no longer says fsync where it did: what was answered may be gone after a power cut."
            in lines
        )

    assert warned("diff --git a/a.py b/a.py\n@@ -1 +1 @@\n-os.fsync(file)\n+pass\n")
    assert not warned("diff --git a/a.py b/a.py\n@@ -1 +1 @@\n-pass\n+os.fsync(file)\n")


def judge_of(story: Story, word: Word, counts: bool) -> JudgeStory:
    case = JudgedCase(case_id="case-visible-000", mended=True, word=word, points=())
    judged = Judged(
        candidate_id=story.candidate.id,
        judge="j",
        keypoints="sha256:0",
        cases=(case,),
        alike=(),
    )
    known = Calibrated(judge="j", cases=9, agreed=9, lower=0.8, counts=counts, reason="because")
    return JudgeStory(coder="c", judged=judged, calibrated=known, trouble="")


def test_a_judge_warns_only_when_it_counts_and_finds_something_worse(world: World, story: Story) -> None:
    def warned(judge: JudgeStory | None) -> bool:
        lines = what_to_distrust(world.settings, story.run, story.proposal, None, None, (), CALM, judge)
        return "The judge finds the reply to case case-visible-000 worse than the baseline's." in lines

    assert warned(judge_of(story, "worse", counts=True))
    assert not any(warned(judge_of(story, word, counts=True)) for word in ("better", "same", "disagree"))
    assert not warned(judge_of(story, "worse", counts=False))
    assert not warned(None)
