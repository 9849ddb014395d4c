"""Many turns in one process: harm that shows only in a service that has lived a while.

Every other replay starts a process from fresh state. A candidate may be right in each of them and wrong in production,
where one process serves everybody: it lets something of one session reach another, is right only once, mixes up what
comes at once, acts again on a request that was repeated, or takes more with every turn. So the cases of a split are
replayed once more, all in one life: in the order in which they happened, and again with several sessions side by side.
A regression case that the baseline answers right there and the candidate does not is lost; so is a held-out case that
the candidate mended alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from containers.shard import Used
from evidence.canonical import new_id
from evidence.cases import Cassette, HeldOutCase, RecordedCall, RecordedTurn, RegressionCase
from trial import statistics as stats
from trial.checks import slow_tail
from trial.graders import GraderSet
from trial.graders.reading import stable_text
from trial.inflight import UNTOLD, Told
from trial.measure import VerdictPolicy
from trial.replay import Replay
from trial.report import Check
from trial.turns import ReplayedTurn

MOST_TURNS = 100
MOST_BUSY_TURNS = 60
"""What sessions side by side do to each other shows sooner."""
REPEATED = 5
"""Turns that are sent once more under their old ids at the end of a life."""
SESSIONS_AT_ONCE = 4
FEW_BESIDE = 2
"""Requests sent twice side by side: fewer may go wrong by chance."""
FEW_ASKED = 10
OFTEN_BUSY, SELDOM_BUSY = 0.5, 0.25
"""A live image that says so in this share of times can be relied upon; a candidate that does so in less than this part
of that can not."""
STATE_PER_TURN, STATE_SLACK = 64 << 10, 1 << 20
MEMORY_PER_TURN, MEMORY_SLACK = 512 << 10, 16 << 20
FILES_PER_TURN, FILES_SLACK = 0.2, 8
TASKS_PER_TURN, TASKS_SLACK = 0.2, 8
LEFT_PER_TURN, LEFT_SLACK = 0.25, 8
"""What a life may take beyond the baseline's: so much a turn, and so much whatever its length."""
RELAPSES = 0.1
"""Share of the mended cases that may fail again in the long life: a service may be flaky."""
LifeCase = HeldOutCase | RegressionCase

Outcomes = Mapping[str, bool]
"""Case -> whether its answer in the long life passed."""


@dataclass(frozen=True)
class Repeat:
    same: bool
    """The answer is the first one's."""
    calls: int
    """To models and tools, the first time and the second together."""


@dataclass(frozen=True)
class Lived:
    """What one long life showed."""

    passed: Outcomes
    seconds: Mapping[str, float]
    """Case -> latency of its own turn."""
    again: Mapping[str, Repeat]
    """Request id of a repeated turn -> what the repetition did."""
    state_bytes: int
    state_files: int
    used: Used
    inflight: Told = UNTOLD
    """What it said of its turns under way."""


@dataclass(frozen=True)
class Life:
    """One replay of many cases. `case` holds all turns: the last as its own, the others as its prelude."""

    case: LifeCase
    lived: tuple[LifeCase, ...]
    """The cases whose own turns are judged."""
    repeated: frozenset[str] = frozenset()
    """Request ids that come twice."""

    def judge(self, replay: Replay, graders: GraderSet) -> Lived:
        """Each case's own turn, as its own graders see it. Raises GraderBroken."""
        first: dict[str, ReplayedTurn] = {}
        second: dict[str, ReplayedTurn] = {}
        for turn in replay.turns:
            (second if turn.request_id in first else first)[turn.request_id] = turn
        calls = Counter(call.request_id for call in replay.calls if "#" not in call.target)
        left = [path for path in replay.files.rglob("*") if path.is_file()]
        return Lived(
            passed=self._grade(replay, first, graders),
            seconds={
                c.id: first[c.turn.request_id].latency for c in self.lived if c.turn.request_id in first
            },
            again={
                ident: Repeat(same_answer(first[ident], second[ident]), calls[ident])
                for ident in self.repeated & second.keys()
            },
            state_bytes=sum(path.stat().st_size for path in left),
            state_files=len(left),
            used=replay.used,
            inflight=replay.inflight,
        )

    def _grade(
        self, replay: Replay, answers: Mapping[str, ReplayedTurn], graders: GraderSet
    ) -> dict[str, bool]:
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


def make_life(cases: Sequence[LifeCase], repeated: int = 0, most: int = MOST_TURNS) -> Life | None:
    """The cases of one split, oldest first, as many as `most` turns hold; None when there are none. `repeated`: so many
    of their turns come again at the end, those that called models or tools or took long before others."""
    turns: dict[str, RecordedTurn] = {}
    lived: list[LifeCase] = []
    for case in sorted(cases, key=lambda case: (case.turn.started, case.id)):
        more = {turn.request_id: turn for turn in (*case.prelude, case.turn)}
        if len(turns.keys() | more.keys()) > most:
            break
        turns |= more
        lived.append(case)
    if not lived:
        return None
    again = to_repeat((case.turn for case in lived), lived, repeated)
    *earlier, last = (*sorted(turns.values(), key=lambda turn: turn.started), *again)
    case = lived[-1].model_copy(
        update={
            "id": new_id(),
            "turn": last,
            "prelude": tuple(earlier),
            "cassette": joined(lived),
            "graders": (),
        }
    )
    return Life(case, tuple(lived), frozenset(turn.request_id for turn in again))


def to_repeat(
    turns: Iterable[RecordedTurn], cases: Sequence[LifeCase], count: int
) -> tuple[RecordedTurn, ...]:
    """The `count` of these turns whose second doing would harm most: those that called models or tools in `cases`, and of
    them those that took long."""
    called = {call.request_id for case in cases for call in case.cassette.calls}
    by_worth = sorted(turns, key=lambda turn: (turn.request_id in called, turn.latency))
    return tuple(by_worth[max(0, len(by_worth) - count) :])


def make_busy_life(cases: Sequence[LifeCase], repeated: int = 0) -> Life | None:
    """Of the cases that need no other session's turns: the others may go wrong side by side on any image. `repeated`: so
    many of their turns stand there twice, one half at most; they are not judged beside that, for what they do twice may
    be luck on any image."""
    own = [case for case in cases if all(turn.session == case.turn.session for turn in case.prelude)]
    life = make_life(own, most=MOST_BUSY_TURNS)
    if life is None:
        return None
    needed = {turn.request_id for case in life.lived for turn in case.prelude}
    free = [case for case in life.lived if case.turn.request_id not in needed]
    again = to_repeat((case.turn for case in free), free, min(repeated, len(life.lived) // 2))
    twice = frozenset(turn.request_id for turn in again)
    case = life.case.model_copy(update={"prelude": (*again, *life.case.prelude)})
    return Life(case, tuple(one for one in life.lived if one.turn.request_id not in twice), twice)


def joined(cases: Sequence[LifeCase]) -> Cassette:
    """All calls, each once; the newest catalog of each server."""
    calls: dict[tuple[str, str, int], RecordedCall] = {}
    catalog: dict[str, object] = {}
    for case in cases:
        catalog |= case.cassette.catalog
        for call in case.cassette.calls:
            calls.setdefault((call.request_id, call.key, call.start_order), call)
    ordered = sorted(calls.values(), key=lambda call: call.start_order)
    return Cassette(calls=tuple(ordered), catalog=catalog)


def same_answer(first: ReplayedTurn, second: ReplayedTurn) -> bool:
    return (first.status, stable_text(first.reply)) == (second.status, stable_text(second.reply))


def long_life(baseline: Outcomes, candidate: Outcomes, mended: Outcomes, policy: VerdictPolicy) -> Check:
    """Does what works go on working in a process that has served others before? `baseline` and `candidate`: of the
    regression cases. `mended`: of the held-out cases that the candidate alone answers right when each has a process."""
    harmed, lost = lost_of(baseline, candidate, policy)
    relapsed = sum(not passed for passed in mended.values())
    said = f"in one long life {lost} are lost, and {relapsed} of {len(mended)} mended ones fail again"
    return Check(name="long_life", ok=not harmed and relapsed <= RELAPSES * len(mended), reason=said)


def at_once(baseline: Outcomes, candidate: Outcomes, policy: VerdictPolicy) -> Check:
    """The same with several sessions side by side."""
    harmed, lost = lost_of(baseline, candidate, policy)
    return Check(
        name="at_once", ok=not harmed, reason=f"with {SESSIONS_AT_ONCE} sessions at once {lost} are lost"
    )


def lost_of(baseline: Outcomes, candidate: Outcomes, policy: VerdictPolicy) -> tuple[bool, str]:
    worked = [case for case, passed in baseline.items() if passed]
    lost = [case for case in worked if not candidate.get(case, False)]
    bound = stats.loss_upper_bound(len(lost), len(worked), policy.confidence)
    harmed = bool(lost) and bound > stats.margin_for(len(worked), policy.margin, policy.confidence)
    return harmed, f"{len(lost)} of {len(worked)} turns that the live image answers right"


def repeats(
    baseline: Lived | None,
    candidate: Lived | None,
    busy_baseline: Lived | None = None,
    busy_candidate: Lived | None = None,
) -> Check:
    """Is a request that comes twice answered twice and acted on once? The edge sends one again when it can't know. `busy`:
    what came twice side by side, where who wins may be luck: what the baseline gets wrong once counts for all."""
    twice, asked = _acted_on_again(baseline, candidate)
    beside, asked_beside = _acted_on_again(busy_baseline, busy_candidate)
    careless = any(not was.same for was in (busy_baseline.again if busy_baseline else {}).values())
    said = f"{twice} of {asked} repeated requests are acted on again or answered otherwise"
    if asked_beside:
        said += f", and {beside} of {asked_beside} that come twice at once"
    return Check(name="repeats", ok=not twice and (careless or beside < FEW_BESIDE), reason=said)


def _acted_on_again(baseline: Lived | None, candidate: Lived | None) -> tuple[int, int]:
    """How many repeated requests the candidate alone gets wrong, of how many."""
    before, now = (life.again if life is not None else {} for life in (baseline, candidate))
    twice = [
        ident
        for ident, was in before.items()
        if was.same and ((one := now.get(ident)) is None or not one.same or one.calls > was.calls)
    ]
    return len(twice), len(before)


def inflight(baseline: Lived | None, candidate: Lived | None) -> Check:
    """Does it say that turns are under way while they are, as the live image does?"""
    was, now = (life.inflight if life is not None else UNTOLD for life in (baseline, candidate))
    known = was.asked >= FEW_ASKED and was.share >= OFTEN_BUSY
    silent = known and now.asked >= FEW_ASKED and now.share < SELDOM_BUSY * was.share
    said = f"while turns are in flight it says so {now.busy} of {now.asked} times, the live image {was.busy} of {was.asked}"
    return Check(name="inflight", ok=not silent, reason=said)


def growth(baseline: Lived | None, candidate: Lived | None, policy: VerdictPolicy) -> Check:
    """Does a life take more with every turn: time, state, memory, open files, threads?"""
    if baseline is None or candidate is None:
        return Check(name="growth", ok=True, reason="no life to compare")
    both = [case for case, passed in baseline.passed.items() if passed and candidate.passed.get(case)]
    slow = slow_tail([(baseline.seconds[case], candidate.seconds[case]) for case in both], policy)
    found = [f"in one long life {slow}"] if slow else []
    before, after, turns = baseline.used, candidate.used, len(candidate.passed)
    for what, was, now, each, slack in (
        ("bytes of state", baseline.state_bytes, candidate.state_bytes, STATE_PER_TURN, STATE_SLACK),
        ("bytes of memory", before.peak_bytes, after.peak_bytes, MEMORY_PER_TURN, MEMORY_SLACK),
        ("open files", before.open_files, after.open_files, FILES_PER_TURN, FILES_SLACK),
        ("threads", before.tasks, after.tasks, TASKS_PER_TURN, TASKS_SLACK),
        ("files of state", baseline.state_files, candidate.state_files, LEFT_PER_TURN, LEFT_SLACK),
    ):
        if was is not None and now is not None and now - was > each * turns + slack:
            found.append(f"in one long life it takes {now} {what}, the live image {was}")
    return Check(
        name="growth", ok=not found, reason=found[0] if found else "a long life takes no more than before"
    )
