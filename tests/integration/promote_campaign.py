"""The kill campaign: at every named point the promoter, the agent, the edge and the engine are killed, under traffic."""

import json
import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from promote_rig import Images, Rig, rig_in
from promote_strikes import VICTIMS, Victim, named
from promote_trial import (
    BACK,
    BROKEN,
    CLOSES,
    DIES,
    FORWARD,
    LATE,
    SCENARIOS,
    Plan,
    Result,
    Trial,
)

from promote.settings import EdgeKind
from promote.wire import Refused, Unreachable

Points = Mapping[str, Sequence[str]]
"""By scenario."""
TRIALS_OF_A_RIG = 50
"""Then a new one: its state grows with every turn, and with it each trial's copies."""


def discover(rig: Rig, scenarios: Sequence[str] = SCENARIOS) -> Points:
    """The points that each scenario passes when nobody is killed, in order."""
    found: dict[str, list[str]] = {}
    for scenario in scenarios:
        log = rig.home / f"points-{scenario}"
        result = Trial(rig, Plan(scenario), points=log).run()
        assert result.problems == [], (scenario, result.problems)
        found[scenario] = list(dict.fromkeys(log.read_text().splitlines()))
        if scenario == BACK:
            continue
        if scenario == LATE:
            _commit_something(rig)
    return found


def _commit_something(rig: Rig) -> None:
    """So that there is an image to return to."""
    result = Trial(rig, Plan(FORWARD)).run()
    assert result.problems == [], result.problems


def every_point(points: Points) -> list[Plan]:
    """Plans that together kill at every point once; each step's kill comes with others during its recovery."""
    forward, back = points[FORWARD], [name for name in points[BROKEN] if name not in points[FORWARD]]
    steps = [name for name in forward if _turns_back(name)]
    asked = [name for name in forward if name.startswith(("REQUESTED", "ACCEPTED"))]
    plans = [
        Plan(FORWARD, (*asked, "PREFLIGHT.before", "PREFLIGHT.intent", "PREFLIGHT.effect")),
        Plan(FORWARD, ("PREFLIGHT.done", "HOLD.before")),
        Plan(FORWARD, ("RELEASED.done", "BAKE.resumed", "BAKE.judged")),
        Plan(FORWARD, ("RELEASED.opened", "COMMITTED.before", "COMMITTED.within")),
        Plan(FORWARD, ("BAKE.begun", "COMMITTED.done")),
        *(Plan(FORWARD, (name,)) for name in forward if name.startswith("TERMINAL")),
        Plan(CLOSES, ("CLOSED.before", "CLOSED.done")),
        Plan(DIES, tuple(name for name in points[DIES] if name.startswith("SETTLE"))),
        Plan(LATE, ("RB_FENCE.effect", "RB_CHOOSE.before", "RB_START.effect")),
    ]
    plans += [Plan(FORWARD, (first, *back[index :: len(steps)])) for index, first in enumerate(steps)]
    return plans


def _turns_back(name: str) -> bool:
    """Killed here, the swap is rolled back: after HOLD's intent and before the release."""
    names = ("HOLD", "DRAIN", "FENCE", "CLONE", "START", "PROBE")
    return (name.split(".")[0] in names and name != "HOLD.before") or name == "RELEASED.before"


def every_strike(points: Points, victim: str, per_swap: int) -> list[Plan]:
    """Plans that together strike a victim at every point once, at most `per_swap` in a swap and those far apart."""
    plans: list[Plan] = []
    for scenario, mine in points_of(points).items():
        swaps = -(-len(mine) // per_swap)
        plans += [
            Plan(scenario, strikes=tuple((victim, point) for point in mine[n::swaps])) for n in range(swaps)
        ]
    return plans


def points_of(points: Points) -> dict[str, list[str]]:
    """Each point once, under the scenario that is sure to pass it."""
    seen: set[str] = set()
    mine: dict[str, list[str]] = {}
    for scenario in (BROKEN, FORWARD, CLOSES, DIES, LATE):
        mine[scenario] = [name for name in points[scenario] if name not in seen]
        seen.update(mine[scenario])
    return mine


def journaled(points: Points) -> Points:
    """Those right behind a row of the journal; the others lie between two rows, or inside of one's transaction."""
    rows = (".intent", ".done", ".begun")
    return {scenario: [name for name in names if name.endswith(rows)] for scenario, names in points.items()}


def random_plan(points: Points, dice: random.Random, victims: Sequence[str] = ()) -> Plan:
    """Any scenario, any of its points, anyone struck there, in three of ten cases a second one during recovery."""
    scenario = dice.choices((*SCENARIOS[:4], DIES), weights=(6, 4, 3, 1, 1))[0]
    again = sorted(set(points[BROKEN]) | set(points[LATE]) | set(points[FORWARD]))
    kills, strikes = [], []
    for at in (points[scenario], again)[: 2 if dice.random() < 0.3 else 1]:
        point, victim = dice.choice(at), dice.choice(("promoter", *victims))
        if victim == "promoter":
            kills.append(point)
        else:
            strikes.append((victim, point))
    return Plan(scenario, tuple(kills), tuple(strikes))


def one_by_one(result: Result) -> list[Plan]:
    """What a swap did not come to, because it was turned back before, alone."""
    missed = [strike for strike in result.plan.strikes if named(strike) not in result.hit]
    if len(result.plan.strikes) == 1:
        return []
    return [replace(result.plan, strikes=(strike,)) for strike in missed]


def discover_in(
    folder: Path, images: Images, scenarios: Sequence[str] = SCENARIOS, edge: EdgeKind = "embedded"
) -> Points:
    with rig_in(folder, images, bake_seconds=0.3, bake_turns=6, edge_kind=edge) as rig:
        rig.install()
        return discover(rig, scenarios)


def run_all(
    folder: Path,
    images: Images,
    plans: Iterable[Plan],
    edges: Sequence[EdgeKind] = ("embedded", "embedded"),
    victims: Mapping[str, Victim] = VICTIMS,
) -> list[Result]:
    """Run the plans, on one installation for each of `edges` at a time."""
    results: list[Result] = []
    queue = list(plans)
    lock = threading.Lock()

    def work(number: int, edge: EdgeKind) -> None:
        place = 0
        while queue:
            place += 1
            home = folder / f"worker-{number}-{place}"
            with rig_in(home, images, bake_seconds=0.3, bake_turns=6, edge_kind=edge) as rig:
                rig.install()
                for _ in range(TRIALS_OF_A_RIG):
                    if not _next_plan(rig):
                        break

    def _next_plan(rig: Rig) -> bool:
        """False when there is none, or when the trial left an installation that is not to be used again."""
        with lock:
            if not queue:
                return False
            plan = queue.pop(0)
        try:
            result = Trial(rig, plan, victims=victims).run()
        except (AssertionError, Refused, Unreachable, OSError) as error:
            result = Result(plan, problems=[f"{type(error).__name__}: {error}; {rig.tail()}"])
        with lock, (folder / "results.jsonl").open("a") as log:
            results.append(result)
            queue.extend(one_by_one(result))
            log.write(json.dumps(asdict(result)) + "\n")
        return not result.problems

    threads = [threading.Thread(target=work, args=(number, edge)) for number, edge in enumerate(edges)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        queue.clear()  # when interrupted, the trials under way end and clean up
        for thread in threads:
            thread.join()
    return results


def violations(results: Iterable[Result]) -> list[str]:
    return [f"{result.plan}: {problem}" for result in results for problem in result.problems]


def not_struck(points: Points, victim: str, results: Iterable[Result]) -> set[str]:
    """Strikes that were planned at every point and never came."""
    wanted = {named((victim, point)) for mine in points_of(points).values() for point in mine}
    return wanted - {name for result in results for name in result.hit}
