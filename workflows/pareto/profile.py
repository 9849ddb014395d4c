"""What each step takes, and does to the result, under each of its alternatives; and the estimate of any configuration.

A profile is made of runs in which one step differs from an anchor, a configuration that was run as a whole. Composed
case by case: where the anchor's run was verified, each changed step has to have kept it so by itself; where it was not,
one of them has to have mended it by itself. So errors that hit the same cases count once, which a product of the steps'
shares would not see; but two changes that only together mend or break a case are not foreseen. That shows when a
configuration is measured, and then it may become an anchor, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workflows.order import Order
from workflows.pareto.bench import Played
from workflows.pareto.estimate import cost, summary
from workflows.pareto.meter import Made
from workflows.pareto.space import Choice, Space
from workflows.points import Estimate

Runs = Sequence[Played]
"""A configuration's, one a case."""


@dataclass
class Profile:
    space: Space
    slots: int
    runs: dict[Choice, Runs] = field(default_factory=dict)
    """Of the anchors and of what differs from one of them in one step."""
    anchors: list[Choice] = field(default_factory=list)

    def estimate(self, choice: Choice) -> Estimate | None:
        """None: some alternative of it was not profiled."""
        anchor = self._anchor(choice)
        if anchor is None:
            return None
        order = Order(self.space.configured(choice))
        needs = {name: order.needs[name] for name in order.sequence}
        changed = {step: self.runs[one] for step, one in self._changes(choice, anchor).items()}
        verified, costs = [], []
        for case, base in enumerate(self.runs[anchor]):
            ways = {step: runs[case] for step, runs in changed.items()}
            verified.append(_holds(base, list(ways.values())))
            calls = {
                name: _typical(name, changed[name]) if (made := _calls(name, base, ways)) is None else made
                for name in needs
            }
            costs.append(cost(needs, calls, self.slots))
        return summary(verified, costs)

    def _anchor(self, choice: Choice) -> Choice | None:
        """The nearest from which it can be estimated, and of equals the one that verified most."""
        return min(
            (
                one
                for one in self.anchors
                if all(way in self.runs for way in self._changes(choice, one).values())
            ),
            key=lambda one: (len(self._changes(choice, one)), -sum(map(_verified, self.runs[one])), one),
            default=None,
        )

    def _changes(self, choice: Choice, anchor: Choice) -> dict[str, Choice]:
        """Step that differs -> the anchor with this step alone as the choice has it."""
        return {
            step: (*anchor[:index], choice[index], *anchor[index + 1 :])
            for index, step in enumerate(self.space.steps)
            if choice[index] != anchor[index]
        }


def _verified(played: Played) -> bool:
    return not played.complaints


def _holds(base: Played, changed: Sequence[Played]) -> bool:
    if _verified(base):
        return all(map(_verified, changed))
    return any(map(_verified, changed))


def _calls(name: str, base: Played, changed: Mapping[str, Played]) -> Sequence[Made] | None:
    """A step's calls in one case, where each of `changed` is a run in which that step alone differs from the anchor's. A
    step that is itself as in the anchor makes the anchor's calls, unless another change led to others: a branch went
    another way, a text became longer. None: another change leads to the step, which did not run when it was profiled."""
    ran = base.of(name)
    led = [made for step, played in changed.items() if step != name and (made := played.of(name)) != ran]
    if name not in changed:
        return led[-1] if led else ran
    turned = [made for made in led if bool(made) != bool(ran)]
    if turned and not turned[-1]:
        return ()
    own = changed[name].of(name)
    return None if turned and not own else own


def _typical(name: str, runs: Sequence[Played]) -> Sequence[Made]:
    """Of all cases in which the step ran, the one with the median time; nothing where it never did."""
    seen = sorted((made for played in runs if (made := played.of(name))), key=_seconds)
    return seen[len(seen) // 2] if seen else ()


def _seconds(made: Sequence[Made]) -> float:
    return sum(one.seconds for one in made)
