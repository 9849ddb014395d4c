"""A batch takes legal steps only, and every step is written down."""

import tempfile
from pathlib import Path

from evidence_logs import REDACTOR, Log, open_store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from evidence import batch, draft, queries
from evidence.intake import intake
from evidence.seal import Baseline, NotReady, seal

STATES = ("open", "sealed", "evolving", "ready", "applied", "dismissed")
LEGAL = {
    ("open", "dismissed"),
    ("sealed", "evolving"),
    ("sealed", "dismissed"),
    ("evolving", "ready"),
    ("evolving", "sealed"),
    ("ready", "applied"),
    ("ready", "sealed"),
}


class BatchLife(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(Path(self.folder.name))
        log = Log(Path(self.folder.name) / "log")
        log.start()
        log.turn("q", error="x")
        log.turn("r", error="x")
        intake(self.store, log.sources, redactor=REDACTOR)
        self.id = queries.list_batches(self.store)[0].id
        for case in draft.draft(self.store, self.id).failures:
            draft.confirm_case(self.store, case.id, (), True)
        self.state, self.steps = "open", ["batch.opened"]

    @rule(state=st.sampled_from(STATES), swap=st.sampled_from(["", "swap-1"]))
    def mark(self, state: str, swap: str) -> None:
        legal = (self.state, state) in LEGAL and (state != "applied" or swap)
        try:
            batch.mark(self.store, self.id, state, reason="r", who="w", swap_id=swap)  # type: ignore[arg-type]
        except batch.IllegalTransition:
            assert not legal
            assert state != self.state
        else:
            assert legal or state == self.state
            if state != self.state:
                self.steps.append(f"batch.{state}")
            self.state = state

    @rule(seed=st.integers(0, 3))
    def freeze(self, seed: int) -> None:
        try:
            sealed = seal(self.store, self.id, Baseline("s", "i", "c"), graders_digest="g", by="w", seed=seed)
        except NotReady:
            assert self.state not in ("open", "sealed")
        else:
            assert batch.load_sealed(self.store, self.id) == sealed
            self.steps.append("batch.sealed" if self.state == "open" else "batch.resealed")
            self.state = "sealed"

    @invariant()
    def stored_state_is_the_model(self) -> None:
        found = queries.get_batch(self.store, self.id)
        assert found.state == self.state
        assert [change.kind for change in found.changes] == self.steps

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


BatchLife.TestCase.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
TestBatchLife = BatchLife.TestCase


def test_the_table_of_steps_is_the_one_of_the_design() -> None:
    table = {(old, new) for old, news in batch.TRANSITIONS.items() for new in news}
    assert table == LEGAL | {("open", "sealed")}
