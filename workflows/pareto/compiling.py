"""A workflow and its configurations in, a measured Pareto set out.

The workflow is run as it is; then each alternative of each step, alone; what that gives is composed into estimates of
all configurations, and those worth it are measured. Where one turns out more accurate than it was thought to be, the
alternatives are profiled around it, too. Whatever is used up, what was measured until then counts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workflows.callers import Spent
from workflows.codec import digest, to_json
from workflows.pareto.bench import Bench
from workflows.pareto.estimate import spent, summary
from workflows.pareto.front import estimated, front_of, of_point, spread, undominated
from workflows.pareto.profile import Profile, Runs
from workflows.pareto.space import Choice, Space
from workflows.points import Accuracy, Estimate, ParetoSet, Point

FOR_PROFILES = 0.5
"""The share of what is left that profiles may take, so that something is left to measure with."""
ANCHORS = 3
Z = 1.96
"""Of an interval at 95 %."""
Progress = Callable[[str], None]


@dataclass
class Compiled:
    measured: list[Point] = field(default_factory=list)
    """In the order in which they were measured, the workflow's own first."""
    unprofiled: list[dict[str, str]] = field(default_factory=list)
    """Configurations of one step for whose profile too little was left: they are in no point."""
    size: int = 1
    """Configurations that there are."""
    ended: str | None = None
    """What was used up."""
    first_complaint: str | None = None
    """Of the workflow as it is."""

    def set_of(self, space: Space) -> ParetoSet:
        return ParetoSet(digest(space.workflow), tuple(undominated(self.measured, of_point)))


async def compile_points(
    space: Space, bench: Bench, *, most: int, seed: int, progress: Progress = lambda text: None
) -> Compiled:
    """Measures at most `most` configurations. Raises Spent when not even the workflow as it is could be."""
    return await _Compiling(space, bench, most, seed, progress).done()


class _Compiling:
    def __init__(self, space: Space, bench: Bench, most: int, seed: int, progress: Progress) -> None:
        self._space, self._bench, self._most, self._seed = space, bench, most, seed
        self._say = progress
        self._profile = Profile(space, bench.slots)
        self._measured: dict[Choice, tuple[Runs, Estimate | None]] = {}
        self._unprofiled: list[dict[str, str]] = []

    async def done(self) -> Compiled:
        self._say("the workflow as it is")
        own = await self._bench.measure(self._space.workflow)
        self._measured[self._space.own] = own, None
        ended = None
        try:
            anchor: Choice | None = self._space.own
            while anchor is not None and len(self._profile.anchors) < ANCHORS:
                await self._profile_around(anchor)
                for choice, estimate in self._promising():
                    cases = len(own)
                    if not self._bench.budget.fits(estimate.tool_calls * cases, estimate.tokens * cases):
                        ended = "what is left is too little to measure some configurations"
                        continue
                    self._say(f"measuring {told(self._space.configuration(choice))}")
                    runs = await self._bench.measure(self._space.configured(choice))
                    self._measured[choice] = runs, estimate
                anchor = self._surprise()
        except Spent as error:
            ended = str(error)
        first = next((text for played in own for text in played.complaints), None)
        points = [self._point(choice, *found) for choice, found in self._measured.items()]
        return Compiled(points, self._unprofiled, self._space.size, ended, first)

    async def _profile_around(self, anchor: Choice) -> None:
        profile, budget = self._profile, self._bench.budget
        profile.runs[anchor] = self._measured[anchor][0]
        profile.anchors.append(anchor)
        with budget.only(FOR_PROFILES):
            for step, choice in self._space.one_changes(anchor):
                if choice in profile.runs:
                    continue
                configuration = self._space.configuration(choice)
                made = [one for played in profile.runs[anchor] for one in played.of(step)]
                if not budget.fits(sum(one.tool_calls for one in made), sum(one.tokens for one in made)):
                    self._unprofiled.append(configuration)
                    continue
                self._say(f"profiling {told(configuration)}")
                try:
                    profile.runs[choice] = await self._bench.profile(self._space.configured(choice), step)
                except Spent:  # another may take less
                    self._unprofiled.append(configuration)

    def _promising(self) -> list[tuple[Choice, Estimate]]:
        """The estimated front, and last what costs most: there shows what money can buy, also where only several changes
        together help, which no estimate foresees."""
        known = estimated(self._space, self._profile.estimate, self._seed)
        dearest = max(known, key=lambda choice: (*_price(known[choice]), choice))
        left = [choice for choice in front_of(known) if choice not in self._measured]
        room = self._most - len(self._measured)
        chosen = dict.fromkeys([*spread(left, max(1, room - 1)), dearest])
        return [(choice, known[choice]) for choice in chosen if choice not in self._measured][: max(0, room)]

    def _surprise(self) -> Choice | None:
        """The most accurate that is more accurate than it was thought to be, and than every anchor."""
        found = [
            (accuracy(runs).value, choice)
            for choice, (runs, estimate) in self._measured.items()
            if estimate is not None and accuracy(runs).value > estimate.accuracy
        ]
        best = max(accuracy(self._measured[anchor][0]).value for anchor in self._profile.anchors)
        value, choice = max(found, default=(0.0, self._space.own))
        return choice if value > best else None

    def _point(self, choice: Choice, runs: Runs, estimate: Estimate | None) -> Point:
        took = summary([not played.complaints for played in runs], [spent(played) for played in runs])
        return Point(
            configuration=self._space.configuration(choice),
            accuracy=accuracy(runs),
            latency_ms=took.latency_ms,
            cost_micro_usd=math.ceil(took.cost_micro_usd),
            tokens=took.tokens,
            tool_calls=took.tool_calls,
            workflow=to_json(self._space.configured(choice)),
            estimated=estimate,
        )


def accuracy(runs: Runs) -> Accuracy:
    """With the interval of Wilson ("Probable inference, the law of succession, and statistical inference", 1927)."""
    n = len(runs)
    share = sum(not played.complaints for played in runs) / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # at 0 and 1 the formula gives these ends but for the last digit of a float
    low, high = (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)
    return Accuracy(share, low, high, n)


def told(configuration: Mapping[str, str]) -> str:
    """For people."""
    return ", ".join(f"{step}={name}" for step, name in configuration.items()) or "as it is"


def _price(one: Estimate) -> tuple[float, float, float]:
    return one.cost_micro_usd, one.tokens, one.latency_ms.p50
