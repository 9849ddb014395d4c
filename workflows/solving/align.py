"""Which steps of several drafts are the same step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflows.grounding import Request
from workflows.solving.drafts import Draft, DraftStep
from workflows.solving.placeholders import slot_of

ENOUGH = 0.2
"""Steps that are less alike are two steps."""
THROUGH = "through "
IN_ITS_PLACE, SAME_ID, FARTHER, CONFLICT = 0.3, 0.3, 0.05, 1.5


@dataclass
class Column:
    """One step, as the drafts have it."""

    cells: dict[int, DraftStep] = field(default_factory=dict)
    """By the draft's number."""
    tells: dict[int, frozenset[str]] = field(default_factory=dict)
    """What each draft's step takes from the request, itself or through the steps whose results it takes."""

    @property
    def first(self) -> DraftStep:
        return next(iter(self.cells.values()))

    @property
    def given(self) -> list[Mapping[str, Any]]:
        return [cell.arguments for cell in self.cells.values()]

    @property
    def told(self) -> frozenset[str]:
        """What any of them takes from the request itself."""
        return frozenset(
            value for told in self.tells.values() for value in told if not value.startswith(THROUGH)
        )


def align(drafts: Sequence[Draft], request: Request) -> list[Column]:
    """Columns in an order that keeps each draft's own. The draft that is most like the others comes first, and they find
    their places in it (a star alignment, Gusfield 1993)."""
    made = {
        number: [Column({number: step}, {number: told}) for step, told in _telling(draft, request)]
        for number, draft in enumerate(drafts)
        if draft.steps
    }

    def alike(one: int) -> float:
        return sum(_table(made[one], made[other])[1][0][0] for other in made if other != one)

    scores = {number: alike(number) for number in made}
    columns: list[Column] = []
    for number in sorted(made, key=lambda number: (-scores[number], number)):
        columns = _joined(columns, made[number])
    return columns


def said_values(step: DraftStep, request: Request) -> frozenset[str]:
    """Texts and numbers among its arguments that the request says, also within lists and objects."""
    found: set[str] = set()
    waiting = list(step.arguments.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str | int | float) and not isinstance(value, bool) and request.says(value):
            found.add(str(value))
    return frozenset(found)


def _telling(draft: Draft, request: Request) -> list[tuple[DraftStep, frozenset[str]]]:
    own = {step.id: said_values(step, request) for step in draft.steps}
    found = []
    for step in draft.steps:
        sources = {slot.source for value in step.arguments.values() if (slot := slot_of(value))}
        through = {
            f"{THROUGH}{value}" for source in sources - {step.id} for value in own.get(source or "", ())
        }
        found.append((step, own[step.id] | through))
    return found


def _table(
    columns: Sequence[Column], others: Sequence[Column]
) -> tuple[list[list[float]], list[list[float]]]:
    """How alike each two are, and the most that there is from each place on (Needleman and Wunsch 1970)."""
    alike = [
        [_likeness(column, other) - FARTHER * abs(row - place) for place, other in enumerate(others)]
        for row, column in enumerate(columns)
    ]
    best = [[0.0] * (len(others) + 1) for _ in range(len(columns) + 1)]
    for row in range(len(columns) - 1, -1, -1):
        for place in range(len(others) - 1, -1, -1):
            both = alike[row][place]
            pair = both + best[row + 1][place + 1] if both >= ENOUGH else -1.0
            best[row][place] = max(pair, best[row + 1][place], best[row][place + 1])
    return alike, best


def _joined(columns: list[Column], others: Sequence[Column]) -> list[Column]:
    alike, best = _table(columns, others)
    found: list[Column] = []
    row = place = 0
    while row < len(columns) and place < len(others):
        both = alike[row][place]
        if both >= ENOUGH and best[row][place] == both + best[row + 1][place + 1]:
            one, other = columns[row], others[place]
            found.append(Column({**one.cells, **other.cells}, {**one.tells, **other.tells}))
            row, place = row + 1, place + 1
        elif best[row][place] == best[row + 1][place]:
            found.append(columns[row])
            row += 1
        else:
            found.append(others[place])
            place += 1
    return [*found, *columns[row:], *others[place:]]


def _likeness(one: Column, other: Column) -> float:
    return max(
        _alike(mine, theirs, one.tells[number], other.tells[against])
        for number, mine in one.cells.items()
        for against, theirs in other.cells.items()
    )


def _alike(one: DraftStep, other: DraftStep, mine: frozenset[str], theirs: frozenset[str]) -> float:
    """Tools, the values of the request that they take, and their names. Two calls that take different such values are two
    calls; one that takes none may be a wrong word for the step in the same place."""
    shared = len(mine & theirs) / min(len(mine), len(theirs)) if mine and theirs else 0.0
    apart = bool(mine) and bool(theirs) and not shared
    alike = (one.tool == other.tool) + shared + SAME_ID * (one.id == other.id)
    return (alike or IN_ITS_PLACE) - CONFLICT * apart
