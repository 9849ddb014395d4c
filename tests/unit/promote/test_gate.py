"""The gate: what waits, what is refused, what survives a restart."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from promote.gate import Caps, Gate, Overfull, Patience, Target, TurnLog

HERE = Target("/run/a.sock", 3, "sha256:aa")


def test_a_gate_is_shut_until_someone_opens_it_and_stays_what_it_was(tmp_path: Path) -> None:
    async def scene() -> None:
        first = Gate(tmp_path / "gate.json", Caps())
        assert first.held
        first.point_at(HERE)
        first.release()
        again = Gate(tmp_path / "gate.json", Caps())
        assert (again.held, again.target) == (False, HERE)
        again.hold()
        shut = Gate(tmp_path / "gate.json", Caps())
        assert (shut.held, shut.target) == (True, HERE)
        assert shut.release() > 0
        assert shut.release() == 0

    asyncio.run(scene())


def test_parked_requests_go_on_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async def scene() -> list[int]:
        gate = Gate(tmp_path / "gate.json", Caps())
        gate.point_at(HERE)
        order: list[int] = []

        async def come(number: int) -> None:
            ticket, _ = await gate.admit(10, Patience(5))
            order.append(number)
            gate.leave(ticket)

        waiting = [asyncio.ensure_future(come(number)) for number in range(20)]
        await asyncio.sleep(0.02)
        assert (gate.parked, gate.inflight) == (20, 0)
        gate.release()
        await asyncio.gather(*waiting)
        assert (gate.parked, gate.inflight) == (0, 0)
        return order

    assert asyncio.run(scene()) == list(range(20))


def test_what_can_not_wait_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        gate = Gate(tmp_path / "gate.json", Caps(parked=2, parked_body=100))
        with pytest.raises(Overfull, match="too large"):
            await gate.admit(101, Patience(5))
        with pytest.raises(Overfull, match="too long"):
            await gate.admit(10, Patience(0.05))
        waiting = [asyncio.ensure_future(gate.admit(10, Patience(5))) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overfull, match="too many"):
            await gate.admit(10, Patience(5))
        gate.point_at(HERE)
        gate.release()
        await asyncio.gather(*waiting)
        await gate.admit(10_000, Patience(0))

    asyncio.run(scene())


def test_turns_are_told_by_epoch_and_number() -> None:
    log = TurnLog(size=3)
    for epoch, status in ((1, 200), (2, 500), (2, 200), (2, 0)):
        log.add(epoch, status, 1.0)
    assert [mark.status for mark in log.since(2, 0)] == [500, 200, 0]
    assert [mark.status for mark in log.since(2, 3)] == [0]
    assert log.since(1, 0) == []


class GateMachine(RuleBasedStateMachine):
    """Whatever is called in whatever order: counts are right, and nobody passes a shut gate."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.gate = Gate(Path(self.folder.name) / "gate.json", Caps(parked=4))
        self.waiting: list[asyncio.Task[tuple[int, Target]]] = []
        self.inside: list[int] = []

    def teardown(self) -> None:
        for task in self.waiting:
            task.cancel()
        self.settle()
        self.loop.close()
        self.folder.cleanup()

    def settle(self) -> None:
        async def breathe() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        self.loop.run_until_complete(breathe())
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.inside.append(task.result()[0])

    @rule()
    def hold(self) -> None:
        self.gate.hold()
        self.settle()

    @rule()
    def release(self) -> None:
        self.gate.release()
        self.settle()

    @rule(epoch=st.integers(1, 5))
    def point(self, epoch: int) -> None:
        self.gate.point_at(Target("/run/x.sock", epoch, "sha256:aa"))
        self.settle()

    @rule()
    def come(self) -> None:
        shut = self.gate.held or self.gate.target is None
        before = len(self.inside)
        self.waiting.append(self.loop.create_task(self.gate.admit(5, Patience(60))))
        self.settle()
        if shut:
            assert len(self.inside) == before

    @rule()
    def go(self) -> None:
        if self.inside:
            ticket = self.inside.pop()
            self.gate.leave(ticket)
            self.gate.leave(ticket)

    @invariant()
    def counts_are_right(self) -> None:
        assert self.gate.inflight == len(self.inside)
        assert self.gate.parked == len(self.waiting) <= 4
        if not self.gate.held and self.gate.target is not None:
            assert self.gate.parked == 0


TestGateMachine = GateMachine.TestCase
TestGateMachine.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
