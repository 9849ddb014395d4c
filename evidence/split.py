"""Divides cases into visible and held-out ones: seeded, alike in kind, no session on both sides where that
can be had.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from evidence.cases import MissPolicy


@dataclass(frozen=True)
class SealPolicy:
    """How many cases a batch takes, and from when on it may seal by itself."""

    min_visible: int = 8
    min_held_out: int = 12
    min_regression: int = 100
    max_visible: int = 12
    max_held_out: int = 40
    max_regression: int = 120
    max_exemplary: int = 6
    """Turns that worked, among the visible cases: a proposer must see what its fix may break."""
    min_principals: int = 3
    """Distinct users or sessions, or else an operator's tag, before a batch seals by itself."""
    retire_after: int = 3
    """Verdicts that a held-out case may decide."""
    visible_share: float = 0.4
    on_tool_miss: MissPolicy = "fail"
    """What a replay does with a tool call that was not recorded."""


@dataclass(frozen=True)
class Item:
    """A case as the split sees it."""

    key: str
    session: str
    stratum: str
    retired: bool = False
    """Has decided enough verdicts: visible or nothing."""


@dataclass
class Split:
    visible: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    straddling: list[str] = field(default_factory=list)
    """Sessions with cases on both sides."""


def targets(fresh: int, policy: SealPolicy) -> tuple[int, int]:
    """How many visible and held-out cases to take from so many fresh ones."""
    visible = round(policy.visible_share * fresh)
    if fresh >= policy.min_visible + policy.min_held_out:
        visible = min(max(visible, policy.min_visible), fresh - policy.min_held_out)
    else:
        visible = max(1, visible) if fresh else 0
    visible = min(visible, policy.max_visible)
    return visible, min(fresh - visible, policy.max_held_out)


@dataclass
class _Sides:
    """The two sides while they fill; `want` is (visible, held-out)."""

    want: tuple[int, int]
    taken: tuple[list[Item], list[Item]] = field(default_factory=lambda: ([], []))

    def room(self, side: int) -> int:
        return self.want[side] - len(self.taken[side])

    def has_session(self, side: int, session: str) -> bool:
        return any(item.session == session for item in self.taken[side])

    def emptier(self, stratum: str) -> list[int]:
        """Sides in the order in which this stratum lacks members."""

        def fill(side: int) -> tuple[float, float]:
            same = sum(item.stratum == stratum for item in self.taken[side])
            return (same / max(1, self.want[side]), len(self.taken[side]) / max(1, self.want[side]))

        return sorted((0, 1), key=fill)


def split(items: Sequence[Item], seed: int, policy: SealPolicy) -> Split:
    """The same items, seed and policy give the same split. Items must be distinct inputs already."""
    fresh = [item for item in items if not item.retired]
    sides = _Sides(targets(len(fresh), policy))
    retired = sorted((item for item in items if item.retired), key=lambda i: i.key)
    leftover: list[Item] = []
    for group in _groups(fresh, seed):
        side = next((s for s in sides.emptier(group[0].stratum) if len(group) <= sides.room(s)), None)
        if side is None:
            leftover += group
        else:
            sides.taken[side].extend(group)
    result = Split()
    for item in leftover:
        _place_single(item, sides, result)
    sides.want = (max(sides.want[0], min(policy.max_visible, len(retired))), sides.want[1])
    for item in retired:
        _place_single(item, sides, result)
    result.visible, result.held_out = ([i.key for i in taken] for taken in sides.taken)
    both = {i.session for i in sides.taken[0]} & {i.session for i in sides.taken[1]}
    result.straddling = sorted(both)
    return result


def _groups(items: Sequence[Item], seed: int) -> list[list[Item]]:
    """Sessions, large ones first, otherwise shuffled; strata take turns."""
    sessions: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda i: i.key):
        sessions[item.session].append(item)
    groups = [sessions[name] for name in sorted(sessions)]
    random.Random(seed).shuffle(groups)
    return sorted(groups, key=lambda group: -len(group))


def _place_single(item: Item, sides: _Sides, result: Split) -> None:
    allowed = [0] if item.retired else sides.emptier(item.stratum)
    open_sides = [side for side in allowed if sides.room(side) > 0]
    clean = [side for side in open_sides if not sides.has_session(1 - side, item.session)]
    for side in (*clean, *open_sides):
        sides.taken[side].append(item)
        return
    result.unused.append(item.key)
