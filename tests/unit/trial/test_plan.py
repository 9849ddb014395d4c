"""Plans: complete, interleaved, seeded, and with honeypots that nothing gives away."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.canonical import canonical_json
from evidence.cases import HeldOutCase, RecordedTurn, RegressionCase, SealedBatch, VisibleCase
from trial.honeypot import HoneypotCase, make_honeypots
from trial.plan import make_plan, repeats


def turn(text: str) -> RecordedTurn:
    return RecordedTurn(request_id=f"r-{text}", session="s", path="/v1", body={"text": text})


def batch(visible: int = 8, held_out: int = 12, regression: int = 100) -> SealedBatch:
    def fields(name: str) -> dict[str, object]:
        return {"id": name, "evidence_id": "e", "fingerprint": "f", "turn": turn(name)}

    return SealedBatch(
        id="b", fingerprint="f", title="t", substrate="tiny", baseline_digest="sha256:b", baseline_commit="c",
        visible=tuple(VisibleCase.model_validate(fields(f"v{i}")) for i in range(visible)),
        held_out=tuple(HeldOutCase.model_validate(fields(f"h{i}")) for i in range(held_out)),
        regression=tuple(RegressionCase.model_validate(fields(f"r{i}")) for i in range(regression)),
        graders_digest="sha256:g", sealed_at="", sealed_by="",
    )  # fmt: skip


SIZES = (st.integers(0, 6), st.integers(0, 9), st.integers(0, 20))


@settings(deadline=None, max_examples=60)
@given(*SIZES, st.integers(0, 2**32))
def test_every_case_is_one_pair_and_each_pair_has_both_arms(v: int, h: int, r: int, seed: int) -> None:
    sealed = batch(v, h, r)
    pots = make_honeypots(sealed, seed=seed)
    plan = make_plan(sealed, pots, seed=seed)
    pairs = [pair for _, phase in plan.phases for pair in phase]
    wanted = [*sealed.visible, *sealed.held_out, *sealed.regression, *pots]
    assert sorted(pair.case.id for pair in pairs) == sorted(case.id for case in wanted)
    assert plan.trials == 2 * len(wanted)
    for pair in pairs:
        one, two = pair.jobs("base", "cand")
        assert {one.arm, two.arm} == {"baseline", "candidate"}
        assert (one.digest == "base") == (one.arm == "baseline")
        assert one.seed == two.seed


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_plan(seed: int) -> None:
    sealed = batch(4, 6, 10)
    pots = make_honeypots(sealed, seed=seed)
    assert make_plan(sealed, pots, seed=seed) == make_plan(sealed, pots, seed=seed)
    assert [pot.turn for pot in pots] == [pot.turn for pot in make_honeypots(sealed, seed=seed)]


def test_arms_and_order_differ_between_seeds() -> None:
    sealed = batch()
    plans = [make_plan(sealed, (), seed=seed) for seed in (1, 2)]
    assert [p.case.id for p in plans[0].held_out] != [p.case.id for p in plans[1].held_out]
    assert 30 < sum(pair.first == "baseline" for pair in plans[0].regression) < 70


def test_honeypots_are_a_share_of_the_batch_and_stand_among_their_models() -> None:
    sealed = batch()
    pots = make_honeypots(sealed, seed=3)
    assert len(pots) == round(0.05 * 120)
    plan = make_plan(sealed, pots, seed=3)
    for split, pairs in plan.phases:
        for pair in pairs:
            if isinstance(pair.case, HoneypotCase):
                assert pair.case.rides_with == split
                job = pair.jobs("b", "c")[0]
                assert job.shard == (job.arm, split)
                assert job.split == "honeypot"


def test_what_reaches_the_candidate_does_not_tell_a_honeypot() -> None:
    sealed = batch()
    for pot in make_honeypots(sealed, seed=1):
        model = next(c for c in (*sealed.held_out, *sealed.regression) if c.turn == pot.turn)
        assert (pot.prelude, pot.cassette, pot.on_model_miss) == (
            model.prelude,
            model.cassette,
            model.on_model_miss,
        )
        assert pot.nonce.encode() not in canonical_json(sealed)


def test_nonces_are_fresh_even_under_the_same_seed() -> None:
    first, second = (make_honeypots(batch(), seed=1) for _ in range(2))
    assert not {pot.nonce for pot in first} & {pot.nonce for pot in second}


def test_small_batches_have_honeypots_too() -> None:
    assert len(make_honeypots(batch(1, 0, 0), seed=0)) == 1
    assert len(make_honeypots(batch(2, 3, 0), seed=0)) == 2
    assert make_honeypots(batch(0, 0, 0), seed=0) == ()


def test_repeats_are_of_the_baseline_alone() -> None:
    jobs = repeats(batch(2, 0, 0).visible, "base", times=3, seed=1)
    assert len(jobs) == 6
    assert {job.arm for job in jobs} == {"baseline"}
    assert len({job.seed for job in jobs}) == 6
