"""Is it the model? Turns recorded from a real agent, model and tool server, replayed with the right answer in its place."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from chat_model import Json, Say, words
from shop_world import (
    CALL,
    MESSAGE_OF_A_TOOL,
    MESSAGES,
    RESULT,
    TOOLS,
    USER,
    Shop,
    asks,
    open_shop,
    order_in,
    told,
)
from stage_rig import SEED, run_over

from containers.runtime import ImageRef
from evolve.budget import Budget, OutOfBudget
from evolve.settings import RunSection
from evolve.stages import baseline, controls, right_answer, verdict
from evolve.stages.models import Baseline, Controls, Failing, RightAnswers
from trial.plan import repeats

ORDERS = ("Is order 7 there?", "Is order 8 there?")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("h")) as made:
        yield made


@pytest.fixture(scope="module")
def whole(shop: Shop) -> ImageRef:
    """The agent that hands everything on."""
    return shop.agent()


def forgetful(messages: list[Json]) -> Json:
    """Looks, and does not say what it saw."""
    return words("I can't say.") if told(messages) else asks("state", id=order_in(messages))


def lazy(messages: list[Json]) -> Json:
    """Does not look."""
    return words("It surely is.")


def attentive(messages: list[Json]) -> Json:
    return words(told(messages)) if told(messages) else asks("state", id=order_in(messages))


def failing(*texts: str, **rerun: float) -> Failing:
    known = Baseline(failing=texts or ORDERS, passing=(), reasons={})
    return Failing(baseline=known, controls=Controls(rerun=rerun))


def show(shop: Shop, image: ImageRef, model: Say, *texts: str, **more: object) -> tuple[RightAnswers, int]:
    """What the stage says of turns that went wrong in this way, and how many replays that took."""
    shop.record(image, model, *(texts or ORDERS), **more)
    with run_over(shop) as context:
        return right_answer.run(context, failing(*texts)), context.budget.trials


def test_what_the_model_does_with_correct_input_is_the_models(shop: Shop, whole: ImageRef) -> None:
    shop.record(whole, forgetful, *ORDERS)
    with run_over(shop) as context:
        known = baseline.run(context)
        given = Failing(baseline=known, controls=controls.run(context, known))
        before = context.budget.trials
        shown = right_answer.run(context, given)
    assert set(known.failing) == set(ORDERS)
    assert shown.unexplained == {}
    assert [(one.case_id, one.call[:12], one.said, one.replays) for one in shown.explained] == [
        (text, "model call 2", "I can't say.", 3) for text in ORDERS
    ]
    assert shown.explained[0].put == "state of 7: fine"
    assert context.budget.trials - before == 6
    decided = verdict.limit_model(shown, [])
    assert decided is not None
    assert decided.word == "limit_model"
    for part in (ORDERS[0], "I can't say.", "state of 7: fine", "another model"):
        assert part in "; ".join(decided.reasons)


def test_a_call_that_was_never_made_is_put_in_place_where_the_tool_can_be_asked(
    shop: Shop, whole: ImageRef
) -> None:
    shown, _ = show(shop, whole, lazy, on_tool_miss="live")
    assert [one.call[:12] for one in shown.explained] == ["model call 1"] * 2
    assert 'shop/state({"id":"7"})' in shown.explained[0].put
    shown, _ = show(shop, whole, lazy)
    assert "is not known" in next(iter(shown.unexplained.values()))


LOSES = (RESULT, '"tool_call_id": ask["id"], "content": "(cut)"}')
CUTS = (USER, '{"role": "user", "content": text[:-4] + "?"}')
HIDES = (TOOLS, f'{TOOLS} if tool["name"] != "state"')
IDLES = (CALL, "content = f\"state of {arguments['id']}: fine\"")


@pytest.mark.parametrize(
    ("defect", "model", "said"),
    [
        pytest.param(LOSES, attentive, "the result of shop__state is altered", id="loses"),
        pytest.param(CUTS, forgetful, "user messages", id="cuts"),
        pytest.param(HIDES, lazy, "shop/state is not offered", id="hides", marks=pytest.mark.soak),
        pytest.param(IDLES, forgetful, "was not made", id="idles", marks=pytest.mark.soak),
    ],
)
def test_a_service_that_alters_what_the_model_is_told_is_not_excused(
    shop: Shop, defect: tuple[str, str], model: Say, said: str
) -> None:
    """Each passes on whatever the model says: with the right words in its mouth the graders of words would be content."""
    shown, replays = show(shop, shop.agent(defect), model, on_tool_miss="live")
    assert shown.explained == ()
    assert said in shown.unexplained[ORDERS[0]]
    assert replays == 0, "the recording shows it already"
    assert verdict.limit_model(shown, []) is None


def test_a_service_that_only_does_so_now_is_not_excused_either(shop: Shop, whole: ImageRef) -> None:
    """The recording is of a service that handed everything on; the live one loses what tools say."""
    recorded = shop.record(whole, lazy, *ORDERS, on_tool_miss="live")
    shop.batch = recorded.model_copy(update={"baseline_digest": shop.agent(LOSES).digest})
    with run_over(shop) as context:
        shown = right_answer.run(context, failing())
    assert "altered" in next(iter(shown.unexplained.values()))


def test_one_case_that_stays_unexplained_is_enough(shop: Shop, whole: ImageRef) -> None:
    """Nobody knows the right words for the third, and it costs nothing to find that out."""
    shown, replays = show(shop, whole, forgetful, *ORDERS, "Are you 9?")
    assert shown.explained == ()
    assert "knows a right answer" in shown.unexplained["Are you 9?"]
    assert replays == 0


def test_what_fails_with_the_right_answer_too_is_the_services(shop: Shop) -> None:
    loud = shop.agent(('return str(message["content"])', 'return str(message["content"]).upper()'))
    shown, _ = show(shop, loud, forgetful)
    assert "it fails still" in next(iter(shown.unexplained.values()))


def test_a_service_that_does_not_let_its_model_speak_to_the_end_is_not_excused(shop: Shop) -> None:
    """What the tool said goes out as it is, and happens to be right."""
    blunt = shop.agent((MESSAGE_OF_A_TOOL, f"{MESSAGE_OF_A_TOOL}\n            return content"))
    shown, _ = show(shop, blunt, lazy, on_tool_miss="live")
    assert "asked 1 times, and 2 answers are due" in next(iter(shown.unexplained.values()))


def test_a_model_that_was_right_is_not_blamed(shop: Shop) -> None:
    loud = shop.agent(('return str(message["content"])', 'return str(message["content"]).upper()'))
    shown, replays = show(shop, loud, attentive)
    assert "right as far as it goes" in shown.unexplained[ORDERS[0]]
    assert replays == 0


def test_what_passes_when_it_is_asked_again_has_no_limit(shop: Shop, whole: ImageRef) -> None:
    shop.record(whole, forgetful, *ORDERS)
    with run_over(shop) as context:
        shown = right_answer.run(context, failing(**{ORDERS[0]: 1.0, ORDERS[1]: 0.0}))
    assert shown.unexplained == {ORDERS[0]: "it passes when it is merely asked again"}


def breaking(shop: Shop, *nonces: str) -> ImageRef:
    """The agent asks a tool server that can't be started, where it is one of these instances and asked for order 8."""
    here = f'if text == {ORDERS[1]!r} and os.environ["BOOT_NONCE"] in {nonces!r}:'
    lost = f'    {here}\n        gateway.call("dead", "x", {{}}, turn.request_id)\n'
    return shop.agent((MESSAGES, lost + MESSAGES))


def test_replays_that_the_arena_broke_count_neither_way(shop: Shop, whole: ImageRef) -> None:
    batch = shop.record(whole, forgetful, *ORDERS, on_tool_miss="live")
    planned = repeats(batch.visible, whole.digest, times=right_answer.TIMES, seed=SEED)
    nonces = [shop.env("BOOT_NONCE", job.seed) for job in planned if job.case.id == ORDERS[1]]

    def shown(*bad: str) -> RightAnswers:
        shop.batch = batch.model_copy(update={"baseline_digest": breaking(shop, *bad).digest})
        with run_over(shop) as context:
            return right_answer.run(context, failing())

    assert [one.replays for one in shown(nonces[0]).explained] == [3, 2]
    assert "the arena broke" in shown(*nonces[:2]).unexplained[ORDERS[1]]


def test_a_case_that_was_not_measured_may_be_anybodys(shop: Shop, whole: ImageRef) -> None:
    shop.record(whole, forgetful, *ORDERS)
    known = Baseline(failing=ORDERS[:1], passing=(), reasons={ORDERS[1]: "no luck"}, unmeasured=ORDERS[1:])
    with run_over(shop) as context:
        shown = right_answer.run(context, Failing(baseline=known, controls=Controls(rerun={})))
    assert shown.unexplained == {ORDERS[1]: "not measured: no luck"}


def test_the_budget_holds(shop: Shop, whole: ImageRef) -> None:
    shop.record(whole, forgetful, *ORDERS)
    with run_over(shop) as context:
        poor = replace(context, budget=Budget(RunSection(max_trials=2)))
        with pytest.raises(OutOfBudget):
            right_answer.run(poor, failing())
