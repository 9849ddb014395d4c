"""State that goes from one image to the other, as in a swap and in a rollback.

Every other replay reads only what the same image wrote. A candidate that writes otherwise and reads it back otherwise
looks right in each of them, and garbles what users wrote before it, or what they wrote since when it is rolled back.
So the earlier turns of some regression cases are replayed on one image, which is then asked to end, and their own turns
on the other, which begins with what was left. Some of the earlier turns come again there under their old ids, as when
the edge can't know whether they were answered: that is one reply and one deed still. And the log goes on where it was.
At last the candidate is killed instead, and goes on itself: what it answered must be there. Between two processes of the
baseline each of these must work, else it says nothing.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evidence.canonical import new_id
from evidence.cases import RecordedTurn, RegressionCase
from trial.graders import GraderSet
from trial.long_life import Life, Outcomes, joined, lost_of, same_answer, to_repeat
from trial.measure import VerdictPolicy
from trial.replay import Replay
from trial.report import Arm, Check
from trial.turns import ReplayedTurn

MOST_CASES = 12
MOST_TURNS = 36
NOTHING_HANDED_ON = Check(name="state_handed_on", ok=True, reason="no case to hand on")
Ending = Literal["drained", "killed"]
REPEATED = 5
"""Earlier turns that are sent once more: those that called models or tools before others."""


@dataclass(frozen=True)
class Way:
    """Who wrote the state, who reads it, and how the writer's process ended."""

    writer: Arm
    reader: Arm
    ended: Ending = "drained"

    @property
    def arm(self) -> Arm:
        """Whose sandboxes the reader may share."""
        return "baseline" if self.writer == self.reader == "baseline" else "candidate"

    @property
    def migrates(self) -> bool:
        """A way back migrates nothing."""
        return (self.writer, self.reader) != ("candidate", "baseline")


CONTROL = Way("baseline", "baseline")
KILLED_CONTROL = Way("baseline", "baseline", "killed")
WAYS: Mapping[Way, str] = {
    Way("baseline", "candidate"): "that the live image wrote",
    Way("candidate", "baseline"): "that the live image reads",
    Way("candidate", "candidate", "killed"): "of a process that was killed",
}


@dataclass(frozen=True)
class Left:
    """What one image left behind."""

    files: Path
    answers: Mapping[str, ReplayedTurn]
    """By request id."""
    events: frozenset[str]
    """Ids of its log."""


@dataclass(frozen=True)
class Handed:
    """What another image made of that."""

    passed: Outcomes
    answered: Outcomes = field(default_factory=dict)
    """Id of an earlier turn that came again -> it had its old answer, and nobody was called."""
    log_kept: bool = True


@dataclass(frozen=True)
class HandOn:
    """Two replays: what came before the cases' own turns, and these."""

    before: RegressionCase
    after: Life
    """Its repeated turns are turns of `before`."""

    def read(self, left: Left, replay: Replay, graders: GraderSet) -> Handed:
        """What the second image made of what the first had left. Raises GraderBroken."""
        seen = {turn.request_id: turn for turn in replay.turns}
        called = {call.request_id for call in replay.calls if "#" not in call.target}
        return Handed(
            passed=self.after.judge(replay, graders).passed,
            answered={
                ident: ident not in called and ident in seen and same_answer(left.answers[ident], seen[ident])
                for ident in self.after.repeated & left.answers.keys()
            },
            log_kept=left.events <= _event_ids(replay),
        )


def make_hand_on(cases: Sequence[RegressionCase]) -> HandOn | None:
    """Of cases that need earlier turns, newest first: those whose own turn no other needs. None when there are none."""
    chosen: list[RegressionCase] = []
    earlier: dict[str, RecordedTurn] = {}
    own: dict[str, RecordedTurn] = {}
    for case in sorted(cases, key=lambda case: (case.turn.started, len(case.prelude), case.id), reverse=True):
        needed = {turn.request_id: turn for turn in case.prelude}
        full = len(chosen) >= MOST_CASES or len(earlier.keys() | needed.keys()) + len(own) >= MOST_TURNS
        crossed = case.turn.request_id in earlier or not own.keys().isdisjoint(needed)
        if not needed or full or crossed or case.turn.request_id in needed:
            continue
        chosen.append(case)
        earlier |= needed
        own[case.turn.request_id] = case.turn
    if not chosen:
        return None
    again = to_repeat(earlier.values(), chosen, REPEATED)
    # Last: a service that forgot them would have learnt them anew before it is asked for what they left.
    after = _as_case(chosen, [*_in_order(own.values()), *_in_order(again)])
    return HandOn(
        before=_as_case(chosen, _in_order(earlier.values())),
        after=Life(after, tuple(chosen), frozenset(turn.request_id for turn in again)),
    )


def _in_order(turns: Iterable[RecordedTurn]) -> list[RecordedTurn]:
    return sorted(turns, key=lambda turn: turn.started)


def _as_case(cases: Sequence[RegressionCase], turns: Sequence[RecordedTurn]) -> RegressionCase:
    *first, last = turns
    changes = {
        "id": new_id(),
        "turn": last,
        "prelude": tuple(first),
        "cassette": joined(cases),
        "graders": (),
    }
    return cases[0].model_copy(update=changes)


def keep(replay: Replay, folder: Path) -> Left:
    """A copy of what a service left, which outlives its replay."""
    if replay.files.is_dir():
        shutil.copytree(replay.files, folder)
    else:
        folder.mkdir(parents=True)
    answers = {turn.request_id: turn for turn in replay.turns if turn.status is not None}
    return Left(folder, answers, _event_ids(replay))


def _event_ids(replay: Replay) -> frozenset[str]:
    return frozenset(str(event["id"]) for event in replay.events if "id" in event)


def hand_on(
    hand: Callable[[Sequence[Way]], Mapping[Way, Handed] | None], reads_back: bool, policy: VerdictPolicy
) -> tuple[Check, ...]:
    """`hand`: hands state on in each of these ways; None where the arena broke one, and then no check was made.
    `reads_back`: may the live image have to read what the candidate wrote?"""
    wanted = [way for way in WAYS if reads_back or way.reader == "candidate"]
    found = hand([CONTROL, *wanted])
    if found is None:
        return ()
    if not any(found[CONTROL].passed.values()):
        return (NOTHING_HANDED_ON,)
    drained = [way for way in wanted if way.ended == "drained"]
    check = state_handed_on(found[CONTROL], {WAYS[way]: found[way] for way in drained}, policy)
    if check.ok:
        check = state_handed_on(found[CONTROL], {WAYS[way]: found[way] for way in wanted}, policy)
        if not check.ok:  # does the baseline keep what it answered, when it is killed?
            killed = hand([KILLED_CONTROL])
            if killed is None:
                return ()
            check = state_handed_on(killed[KILLED_CONTROL], {WAYS[way]: found[way] for way in wanted}, policy)
    return (check,)


def state_handed_on(control: Handed, ways: Mapping[str, Handed], policy: VerdictPolicy) -> Check:
    """Is what one image wrote read by the next? `control`: from baseline to baseline. `ways`: how the state came about that
    the candidate wrote or read, and what was made of it."""
    said = []
    for way, handed in ways.items():
        harmed, lost = lost_of(control.passed, handed.passed, policy)
        again = [
            ident for ident, old in control.answered.items() if old and not handed.answered.get(ident, True)
        ]
        found = [f"with state {way} {lost} are lost"]
        if again:
            found.append(
                f"{len(again)} of {len(control.answered)} earlier requests that come again are acted on or answered anew"
            )
        if cut := control.log_kept and not handed.log_kept:
            found.append("what its log said before is gone")
        if harmed or again or cut:
            return Check(name="state_handed_on", ok=False, reason=", ".join(found))
        said += found
    return Check(name="state_handed_on", ok=True, reason="; ".join(said))
