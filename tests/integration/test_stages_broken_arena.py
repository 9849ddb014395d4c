"""What the arena broke says nothing about a candidate: here a model that nobody can reach, asked by the service itself."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from stage_rig import built, run_over
from trial_batch import DEFECT, World, open_tiny

from containers.runtime import ImageRef
from evolve import runs
from evolve.context import RunContext
from evolve.population import Population
from evolve.stage import Place
from evolve.stages import baseline, controls, screen, select, verdict
from evolve.stages.models import Baseline, Controls

FIX = (DEFECT[1], DEFECT[0])
ASKS = 'Gateway(os.environ["GATEWAY_SOCKET"]).ask("x", "t")'
LARGEST = "def largest(text: str) -> str:\n"


def breaks_on(condition: str) -> tuple[str, str]:
    """The service asks a model that is out of reach, and hides that it got no answer."""
    lines = (
        f"    if {condition}:\n        try:\n            {ASKS}\n        except OSError:\n            pass\n"
    )
    return LARGEST, LARGEST + lines


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_tiny(tmp_path_factory.mktemp("h")) as made:
        yield made


@pytest.fixture
def context(world: World) -> Iterator[RunContext]:
    with run_over(world) as made:
        yield made


KNOWN = Baseline(failing=("largest 0 7 3", "largest 1 8 4", "largest 2 9 5"), passing=(), reasons={})
FIELD = Controls(rerun=dict.fromkeys(KNOWN.failing, 0.0))


def shown(context: RunContext, images: dict[str, ImageRef], field: Controls = FIELD) -> Population:
    """Candidates that were screened; the earlier ones changed less."""
    population = Population()
    for lines, (name, image) in enumerate(images.items(), 2):
        made = built(context, name, image, lines)
        population.add_candidate(made, screen.run(context, KNOWN, made), Place(1, 1), 0)
    return population


def test_a_case_that_the_arena_broke_has_no_score(world: World, context: RunContext) -> None:
    made = built(context, "half", world.image(FIX, breaks_on('text.startswith("1 ")')))
    seen = screen.run(context, KNOWN, made)
    assert seen.scores == {"largest 0 7 3": 1.0, "largest 2 9 5": 1.0}
    assert "no model upstream" in seen.reasons["largest 1 8 4"]


def test_who_has_no_score_at_all_is_not_measured_and_neither_refused_nor_chosen(
    world: World, context: RunContext
) -> None:
    population = shown(context, {"lost": world.image(FIX, breaks_on("text"))})
    assert population.entries[0].scores == {}
    with context.store.read() as session:
        assert runs.get_candidate(session, "lost").state == "built"
    assert [(one.word, "not measured" in one.reasons[0]) for one in population.seen] == [
        ("inconclusive", True)
    ]
    chosen = select.run(context, population.entries, population.images, FIELD)
    assert chosen.leader is None
    assert verdict.plateau(population.seen).word == "inconclusive"


def test_a_rank_rests_on_what_was_scored_on_both_sides(world: World, context: RunContext) -> None:
    """Both mend what both were measured on; the smaller change leads, though the other has one score more."""
    images = {
        "unlucky": world.image(FIX, breaks_on('text.startswith("1 ")')),
        "lucky": world.image(FIX),
    }
    population = shown(context, images)
    chosen = select.run(context, population.entries, population.images, FIELD)
    assert (chosen.leader, chosen.order) == ("unlucky", ("unlucky", "lucky"))


def test_a_second_look_that_broke_leaves_the_first_score(world: World, context: RunContext) -> None:
    """It breaks under the other seed alone, which the service knows by the instance that it is."""
    other = 'os.environ["BOOT_NONCE"] != "{}"'
    with run_over(world) as first:
        made = built(
            first, "probe", world.image(FIX, ("return str(max", 'return os.environ["BOOT_NONCE"] + str(max'))
        )
        reply = next(
            first.replay(screen.jobs(made.candidate.image, first.batch.visible[:1], first.seed))
        ).reply
    images = {
        "a": world.image(FIX, breaks_on(other.format(reply[:32]))),
        "b": world.image(FIX, breaks_on('text.startswith("1 ")')),
    }
    population = shown(context, images)
    chosen = select.run(context, population.entries, population.images, FIELD)
    assert chosen.scores["a"] == dict.fromkeys(KNOWN.failing, 1.0)
    assert chosen.leader == "a"


def test_asking_again_in_a_broken_arena_is_no_score_and_the_bar_is_what_both_showed(
    world: World, context: RunContext
) -> None:
    shaky = world.image(breaks_on('not text.startswith("2 ")'))
    again = context.batch.model_copy(update={"baseline_digest": shaky.digest})
    seen = controls.run(replace(context, batch=again), KNOWN)
    assert seen.rerun == {"largest 2 9 5": 0.0}
    population = shown(context, {"good": world.image(FIX)})
    entries, pictures = population.entries, population.images
    assert select.run(context, entries, pictures, seen).leader == "good"
    lucky = Controls(rerun={"largest 2 9 5": 1.0})
    assert select.run(context, entries, pictures, lucky).leader is None, (
        "two more cases were scored on one side only"
    )
    blind = select.run(context, entries, pictures, Controls(rerun={}))
    assert (blind.leader, blind.word) == (None, "inconclusive")


def test_a_baseline_in_a_broken_arena_is_not_taken_for_mended(world: World, context: RunContext) -> None:
    broken = context.batch.model_copy(update={"baseline_digest": world.image(breaks_on("text")).digest})
    seen = baseline.run(replace(context, batch=broken))
    assert (seen.failing, seen.passing) == ((), ())
    assert set(seen.unmeasured) == set(KNOWN.failing)
