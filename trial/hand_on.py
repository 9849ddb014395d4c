"""State that goes from one image to the other, as in a swap and in a rollback.

Every other replay reads only what the same image wrote. A candidate that writes otherwise and reads it back otherwise
looks right in each of them, and garbles what users wrote before it, or what they wrote since when it is rolled back.
So the earlier turns of some regression cases are replayed on one image, which is then asked to end, and their own turns
on the other, which begins with what was left. Between two processes of the baseline this must work, else it says nothing.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evidence.canonical import new_id
from evidence.cases import RecordedTurn, RegressionCase
from trial.long_life import Life, Outcomes, joined, lost_of
from trial.measure import VerdictPolicy
from trial.replay import Replay
from trial.report import Check

MOST_CASES = 20
MOST_TURNS = 60


@dataclass(frozen=True)
class HandOn:
    """Two replays: what came before the cases' own turns, and these."""

    before: RegressionCase
    after: Life


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
    return HandOn(
        before=_as_case(chosen, earlier.values()), after=Life(_as_case(chosen, own.values()), tuple(chosen))
    )


def _as_case(cases: Sequence[RegressionCase], turns: Iterable[RecordedTurn]) -> RegressionCase:
    *first, last = sorted(turns, key=lambda turn: turn.started)
    changes = {
        "id": new_id(),
        "turn": last,
        "prelude": tuple(first),
        "cassette": joined(cases),
        "graders": (),
    }
    return cases[0].model_copy(update=changes)


def keep(replay: Replay, folder: Path) -> Path:
    """A copy of what a service left, which outlives its replay."""
    if replay.files.is_dir():
        shutil.copytree(replay.files, folder)
    else:
        folder.mkdir(parents=True)
    return folder


def state_handed_on(
    control: Outcomes, forth: Outcomes, back: Outcomes | None, policy: VerdictPolicy
) -> Check:
    """Is what one image wrote read by the other? `control`: baseline to baseline; `forth`: baseline to candidate; `back`:
    candidate to baseline, None where nobody promises that."""
    ways = {"that the live image wrote": forth} | (
        {} if back is None else {"that the live image reads": back}
    )
    said = []
    for way, outcomes in ways.items():
        harmed, lost = lost_of(control, outcomes, policy)
        if harmed:
            return Check(name="state_handed_on", ok=False, reason=f"with state {way} {lost} are lost")
        said.append(f"with state {way} {lost} are lost")
    return Check(name="state_handed_on", ok=True, reason="; ".join(said) if control else "no case to hand on")
