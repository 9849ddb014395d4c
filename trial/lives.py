"""What only a process shows that serves many: replays of whole lives, when the pairs are through, and the checks that they
answer."""

import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evidence.cases import HeldOutCase, RegressionCase
from trial.arena import Arena
from trial.graders import GraderSet
from trial.hand_on import NOTHING_HANDED_ON, Ending, Handed, Left, Way, hand_on, keep, make_hand_on
from trial.long_life import (
    REPEATED,
    SESSIONS_AT_ONCE,
    Life,
    Lived,
    at_once,
    growth,
    inflight,
    long_life,
    make_busy_life,
    make_life,
    repeats,
)
from trial.measure import VerdictPolicy
from trial.plan import Inherited, Job, TrialCase
from trial.replay import Replay
from trial.report import Arm, Check
from trial.strangers import NO_STRANGERS, Met, make_strangers, statuses, strangers

BOTH: tuple[Arm, Arm] = ("baseline", "candidate")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Lives:
    arena: Arena
    graders: GraderSet
    images: Mapping[Arm, str]
    """Digests."""
    policy: VerdictPolicy
    seed: int
    pay: Callable[[], None]
    """For one replay."""

    def checks(
        self,
        regression: Sequence[RegressionCase],
        mended: Sequence[HeldOutCase],
        worked: Sequence[RegressionCase],
        reads_back: bool,
    ) -> tuple[Check, ...]:
        """`mended`: held-out cases that the candidate alone answers right; `worked`: regression cases that both do. Where
        the arena broke a replay its checks are left out: they were not made, and the verdict says so."""
        found = self._long_lives(regression, mended)
        if found:
            found += self._strangers(worked) + self._hand_on(worked, reads_back)
        return found

    def _long_lives(
        self, regression: Sequence[RegressionCase], mended: Sequence[HeldOutCase]
    ) -> tuple[Check, ...]:
        """Of what worked on both arms, also side by side; of what was mended on the candidate."""
        lives: dict[tuple[str, Arm], Life | None] = {
            **dict.fromkeys((("worked", arm) for arm in BOTH), make_life(regression, REPEATED)),
            **dict.fromkeys((("busy", arm) for arm in BOTH), make_busy_life(regression, REPEATED)),
            ("mended", "candidate"): make_life(mended),
        }
        wanted = {key: life for key, life in lives.items() if life is not None}
        seen = self._together(
            {
                (name, arm): self._job(life.case, arm, SESSIONS_AT_ONCE if name == "busy" else 1)
                for (name, arm), life in wanted.items()
            },
            lambda key, replay: wanted[key].judge(replay, self.graders),
        )
        if seen is None:
            return ()
        (before, now), (busy, busy_now) = (
            [seen.get((name, arm)) for arm in BOTH] for name in ("worked", "busy")
        )
        mended_now = seen.get(("mended", "candidate"))
        return (
            long_life(_passed(before), _passed(now), _passed(mended_now), self.policy),
            at_once(_passed(busy), _passed(busy_now), self.policy),
            repeats(before, now, busy, busy_now),
            inflight(busy, busy_now),
            growth(before, now, self.policy),
        )

    def _strangers(self, worked: Sequence[RegressionCase]) -> tuple[Check, ...]:
        made = make_strangers(worked)
        if made is None:
            return (NO_STRANGERS,)

        def meet(*arms: Arm) -> Mapping[Arm, Met] | None:
            lived = self._together(
                {arm: self._job(made.renamed.case, arm) for arm in arms},
                lambda _, replay: made.renamed.judge(replay, self.graders),
            )
            odd = self._together(
                {arm: self._job(made.odd, arm) for arm in arms}, lambda _, replay: statuses(replay)
            )
            if lived is None or odd is None:
                return None
            return {arm: Met(lived[arm].passed, odd[arm]) for arm in arms}

        met = meet(*BOTH)
        if met is None:
            return ()
        check = strangers(made, met["baseline"], met["candidate"], self.policy)
        if check.ok:
            return (check,)
        again = meet("candidate")  # what it gets right then was lost by chance
        if again is None:
            return ()
        candidate = met["candidate"].or_else(again["candidate"])
        return (strangers(made, met["baseline"], candidate, self.policy),)

    def _hand_on(self, worked: Sequence[RegressionCase], reads_back: bool) -> tuple[Check, ...]:
        made = make_hand_on(worked)
        if made is None:
            return (NOTHING_HANDED_ON,)
        left: dict[tuple[Arm, Ending], Left] = {}
        with tempfile.TemporaryDirectory(prefix="state-") as name:

            def before(arm: Arm, ended: Ending) -> Job:
                return Job(made.before, arm, self.images[arm], self.seed, hands_on=ended == "drained")

            def after(way: Way) -> Job:
                inherits = Inherited(left[way.writer, way.ended].files, way.migrates)
                return Job(made.after.case, way.arm, self.images[way.reader], self.seed, inherits=inherits)

            def hand(ways: Sequence[Way]) -> Mapping[Way, Handed] | None:
                written = self._together(
                    {(way.writer, way.ended): before(way.writer, way.ended) for way in ways},
                    lambda who, replay: keep(replay, Path(name) / "-".join(who)),
                )
                if written is None:
                    return None
                left.update(written)
                return self._together(
                    {way: after(way) for way in ways},
                    lambda way, replay: made.read(left[way.writer, way.ended], replay, self.graders),
                )

            return hand_on(hand, reads_back, self.policy)

    def _job(self, case: TrialCase, arm: Arm, at_once: int = 1) -> Job:
        return Job(case, arm, self.images[arm], self.seed, at_once)

    def _together(self, jobs: Mapping[K, Job], use: Callable[[K, Replay], T]) -> dict[K, T] | None:
        """What is made of each replay; None when the arena broke one."""
        keys = {id(job): key for key, job in jobs.items()}
        found = {}
        for played in self.arena.play([*jobs.values()], lambda job, replay: use(keys[id(job)], replay)):
            self.pay()
            if played.value is None:
                return None
            found[keys[id(played.job)]] = played.value
        return found


def _passed(life: Lived | None) -> Mapping[str, bool]:
    return life.passed if life is not None else {}
