"""Many turns in one process: harm that shows only in a service that has lived a while.

Every other replay starts a process from fresh state. A candidate may be right in each of them and wrong in production,
where one process serves everybody: it lets something of one session reach another, or is right only once. So the
cases of a split are replayed once more, all in one life, in the order in which they happened. A regression case that the
baseline answers right there and the candidate does not is lost; so is a held-out case that the candidate mended alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evidence.canonical import new_id
from evidence.cases import Cassette, HeldOutCase, RecordedCall, RecordedTurn, RegressionCase
from trial import statistics as stats
from trial.graders import GraderSet
from trial.measure import VerdictPolicy
from trial.replay import Replay
from trial.report import Check

NAME = "long_life"
MOST_TURNS = 120
RELAPSES = 0.1
"""Share of the mended cases that may fail again in the long life: a service may be flaky."""
LifeCase = HeldOutCase | RegressionCase

Outcomes = Mapping[str, bool]
"""Case -> whether its answer in the long life passed."""


@dataclass(frozen=True)
class Life:
    """One replay of many cases. `case` holds all turns: the last as its own, the others as its prelude."""

    case: LifeCase
    lived: tuple[LifeCase, ...]
    """The cases whose own turns are judged."""

    def judge(self, replay: Replay, graders: GraderSet) -> dict[str, bool]:
        """Each case's own turn, as its own graders see it. Raises GraderBroken."""
        answers = {turn.request_id: turn for turn in replay.turns}
        found = {}
        for case in self.lived:
            own = case.turn.request_id
            answer = answers.get(own)
            if answer is None or answer.status is None:
                found[case.id] = False
                continue
            seen = replace(
                replay,
                turns=(answer,),
                calls=tuple(call for call in replay.calls if call.request_id == own),
                events=tuple(event for event in replay.events if event.get("turn") == own),
                own_from=None,
            )
            found[case.id] = all(grade.passed for grade in graders.grade(case, seen))
        return found


def make_life(cases: Sequence[LifeCase]) -> Life | None:
    """The cases of one split, oldest first, as many as `MOST_TURNS` hold; None when there are none."""
    turns: dict[str, RecordedTurn] = {}
    lived: list[LifeCase] = []
    for case in sorted(cases, key=lambda case: (case.turn.started, case.id)):
        more = {turn.request_id: turn for turn in (*case.prelude, case.turn)}
        if len(turns.keys() | more.keys()) > MOST_TURNS:
            break
        turns |= more
        lived.append(case)
    if not lived:
        return None
    *earlier, last = sorted(turns.values(), key=lambda turn: turn.started)
    case = lived[-1].model_copy(
        update={
            "id": new_id(),
            "turn": last,
            "prelude": tuple(earlier),
            "cassette": _joined(lived),
            "graders": (),
        }
    )
    return Life(case, tuple(lived))


def _joined(cases: list[LifeCase]) -> Cassette:
    """All calls, each once; the newest catalog of each server."""
    calls: dict[tuple[str, str, int], RecordedCall] = {}
    catalog: dict[str, object] = {}
    for case in cases:
        catalog |= case.cassette.catalog
        for call in case.cassette.calls:
            calls.setdefault((call.request_id, call.key, call.start_order), call)
    ordered = sorted(calls.values(), key=lambda call: call.start_order)
    return Cassette(calls=tuple(ordered), catalog=catalog)


def long_life(baseline: Outcomes, candidate: Outcomes, mended: Outcomes, policy: VerdictPolicy) -> Check:
    """Does what works go on working in a process that has served others before? `baseline` and `candidate`: of the
    regression cases. `mended`: of the held-out cases that the candidate alone answers right when each has a process."""
    worked = [case for case, passed in baseline.items() if passed]
    lost = [case for case in worked if not candidate.get(case, False)]
    bound = stats.loss_upper_bound(len(lost), len(worked), policy.confidence)
    harmed = bool(lost) and bound > stats.margin_for(len(worked), policy.margin, policy.confidence)
    relapsed = sum(not passed for passed in mended.values())
    said = (
        f"in one long life {len(lost)} of {len(worked)} turns that the live image answers right are lost, "
        f"and {relapsed} of {len(mended)} mended ones fail again"
    )
    return Check(name=NAME, ok=not harmed and relapsed <= RELAPSES * len(mended), reason=said)
