"""A run for who looks: what it cost, what it tried, where it stands, from rows and blobs alone."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select
from web_population import CASES, CAUSE, MUTATION, OBJECTION, PROMPT, WORKS, add_population
from web_world import World, make_home, make_world

from evolve import views
from evolve.errors import NotFound
from evolve.record import record_of
from evolve.tables import RunRow, StageRow
from evolve.views.costs import Cost, cost_of, run_costs, sum_of

amounts = st.integers(0, 10**12)
places = st.tuples(st.integers(0, 3), st.integers(0, 3))
NAMES = ("baseline", "plan", "implement", "screen", "trial")
stages = st.lists(
    st.builds(
        lambda where, name, candidate, usd, tokens, trials, tenths: StageRow(
            run_id="r",
            iteration=where[0],
            proposal=where[1],
            name=name,
            input_digest="",
            candidate_id=candidate,
            usd_micros=usd,
            tokens=tokens,
            trials=trials,
            seconds=tenths / 8,
        ),
        places,
        st.sampled_from(NAMES),
        st.sampled_from([None, "a", "b", "of another run"]),
        amounts,
        amounts,
        amounts,
        st.integers(0, 10**6),
    )
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("runs") / "home"), regression=2)
    yield built
    built.close()


@pytest.fixture(scope="module")
def ended(world: World) -> str:
    return add_population(world)


@given(rows=stages, usd=amounts, trials=amounts)
def test_each_part_of_the_costs_adds_up_to_the_whole(rows: list[StageRow], usd: int, trials: int) -> None:
    """Whatever the run's own row says: what no stage has is named."""
    run = RunRow(
        batch_id="b",
        batch_digest="",
        requester="",
        reason="",
        coder="",
        seed=1,
        usd_micros=usd,
        trials=trials,
    )
    found = run_costs(run, rows, {"a": (1, 1), "b": (2, 3)})
    by_stage = sum_of(one.cost for one in found.stages)
    assert by_stage == sum_of(map(cost_of, rows))
    assert by_stage == sum_of(one.cost for one in found.proposals).plus(found.shared)
    assert by_stage.plus(found.unassigned) == found.total == cost_of(run)
    assert all(one.candidate != "of another run" for one in found.proposals)


def test_a_trial_counts_for_the_candidate_that_it_tried(world: World, ended: str) -> None:
    detail = views.get_run(world.store.read, ended)
    assert detail.costs.unassigned == Cost()
    costs = {(one.iteration, one.proposal): one for one in detail.costs.proposals}
    own = sum_of(
        s.cost
        for s in detail.stages
        if (s.iteration, s.proposal) == (2, 1) or s.name in ("trial", "evaluate")
    )
    assert costs[2, 1].cost == own
    assert costs[2, 1].candidate == next(c.id for c in detail.candidates if c.iteration == 2)
    assert costs[1, 1].candidate is None, "its opponent refused it"
    shared = [s for s in detail.stages if s.name in ("baseline", "controls", "select")]
    assert detail.costs.shared == sum_of(s.cost for s in shared)


def test_what_was_tried_and_what_became_of_it(world: World, ended: str) -> None:
    found = views.get_population(world.store, ended)
    assert (found.failing, found.problems) == (CASES, ())
    assert [(control.name, control.gain) for control in found.controls] == [("no change", 0), ("re-run", 1)]
    told = {
        one.where: (one.coder, one.gain, len(one.breaks), one.state, one.why.partition(":")[0])
        for one in found.proposals
    }
    assert told == {
        (1, 1): ("codex", 0, 0, "refused", "codex refuses"),
        (1, 2): ("mend", 4, 0, "built", "was not tried on held-out cases"),
        (1, 3): ("codex", 8, 1, "refused", "breaks what passes on the live image"),
        (2, 1): ("mend", 7.5, 0, "tried", "7.6 is less than 60"),
        (2, 4): ("merge", 0, 0, "refused", "the two changes don't fit together"),
    }
    tried = next(one for one in found.proposals if one.where == (2, 1))
    assert [found.made(parent) for parent in tried.parents] == [(1, 2)]
    assert (len(tried.gained), len(tried.lost), tried.lines_added, tried.lines_removed) == (6, 1, 5, 7)
    assert [score.share for score in tried.scores if score.share < 1] == [0.5], "over both looks"
    broke = next(one for one in found.proposals if one.where == (1, 3))
    assert [(score.case, bool(score.reason)) for score in broke.breaks] == [(WORKS[0], True)]


def test_a_proposal_whole(world: World, ended: str) -> None:
    detail = views.get_proposal(world.store, ended, (1, 1))
    assert [(plan.round, plan.answer.cause if plan.answer else "") for plan in detail.plans] == [
        (0, CAUSE),
        (1, CAUSE),
    ]
    assert [(r.stage, r.round, r.ok) for r in detail.reviews] == [
        ("plan_review", 0, False),
        ("plan_review", 1, True),
        ("code_review", 0, False),
    ]
    [review] = detail.reviews_of("code_review")
    assert review.opinion is not None
    assert (review.opinion.mutation.change, review.opinion.required) == (MUTATION, (OBJECTION,))
    assert "as_completed" in detail.edits[0].diff
    prompts = {(prompt.file, prompt.round): prompt for prompt in detail.prompts}
    assert set(prompts) == {
        ("plan.md", 0),
        ("plan.md", 1),
        ("plan_review.md", 0),
        ("plan_review.md", 1),
        ("code_review.md", 0),
        ("implement.md", 0),
    }
    assert PROMPT in prompts["code_review.md", 0].text
    assert prompts["implement.md", 0].text == "Mend it, word for word."
    assert all(prompt.sha256.startswith("sha256:") for prompt in detail.prompts)
    merge = views.get_proposal(world.store, ended, (2, 4))
    assert (merge.prompts, merge.edits[0].diff) == ((), "")
    with pytest.raises(NotFound):
        views.get_proposal(world.store, ended, (9, 9))


def test_what_is_gone_is_a_problem_and_no_end(world: World) -> None:
    run = add_population(world)
    with world.store.write() as session:
        rows = session.exec(select(StageRow).where(StageRow.run_id == run, StageRow.name == "screen"))
        for row in rows:
            row.output_blob = "sha256:" + "0" * 64
            session.add(row)
    found = views.get_population(world.store, run)
    assert found.problems
    assert [one.gain for one in found.proposals] == [0] * 5


def test_where_a_run_stands(world: World) -> None:
    run = add_population(world, running=True)
    detail = views.get_run(world.store.read, run)
    where = views.live(world.settings, detail)
    assert (where.iteration, where.proposal, where.stage) == (3, 0, "trial")
    assert where.candidate == next(c.id for c in detail.candidates if c.iteration == 3)
    assert where.progress is not None
    assert (where.progress.done, where.progress.planned, where.progress.split) == (10, 88, "held_out")
    assert (where.e_value, where.e_needed) == (3.25, 60)
    assert where.spent == detail.costs.total
    assert where.limits == Cost(usd_micros=2_500_000, tokens=2_000_000, trials=60_000, seconds=180 * 60), (
        "its own options, and what its depth stands for"
    )


def test_the_evidence_of_the_last_comparison_stays(world: World, ended: str) -> None:
    where = views.live(world.settings, views.get_run(world.store.read, ended))
    assert (where.stage, where.progress, where.e_value) == ("evaluate", None, 7.6)


def test_the_record_has_costs_and_population_beside_the_answers(world: World, ended: str) -> None:
    whole = record_of(world.settings, world.store, ended)
    assert whole.costs == views.get_run(world.store.read, ended).costs
    assert whole.population == views.get_population(world.store, ended)
    assert whole.limits.usd_micros == 2_500_000
    reviews = record_of(world.settings, world.store, ended, "plan_review")
    assert {one.stage.name for one in reviews.stages} == {"plan_review"}
    assert PROMPT in reviews.stages[0].output["asked"]["prompt"]
