"""Which of the values in a request an argument is called by, told by the words before them: `timezone Asia/Tokyo`."""

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from workflows.grounding import Request
from workflows.solving.homes import Span
from workflows.solving.kinds import suits
from workflows.solving.values import fitting, key
from workflows.tool_search import words
from workflows.types import Schema

NEAR = 3
"""Words before a value that may tell what it is."""
CALLED = 0.9
"""Of a value whose last word before is the argument's name, cut short or not."""
EXACT, PART, BEFORE, LITTLE, USED, AT_HOME = 1.0, 0.9, 0.5, 0.1, 0.95, 0.6
SHORT = 4
"""Letters of a word that is another one cut short: `repo`."""
TOWARDS = {
    words(name)[0]: frozenset(ways.split())
    for name, ways in {
        "source": "from",
        "target": "to",
        "destination": "to into",
        "old": "replac chang",
        "new": "by with",
    }.items()
}
"""What a request says before a value that is called so."""


class Named(NamedTuple):
    score: float
    used: bool
    value: Any


def named(
    name: str,
    things: str,
    wanted: Schema,
    request: Request,
    used: Collection[str] = (),
    places: Sequence[int] = (),
    home: Span | None = None,
) -> list[Named]:
    """The best first; what is used already stands behind all others, and only if it is called so. `things`: other words
    for the argument. What stands at `home` goes before what is called a little better; of equal ones that which stands
    nearest to one of the `places` in the text."""
    own = words(name) or [name.lower()]
    about = {*own, *words(things)}.union(*(TOWARDS.get(word, ()) for word in own))
    more = about | set(words(str(wanted.get("description", ""))))
    found: list[tuple[tuple[bool, float, int, str], Named]] = []
    for value in (*_listed(wanted, request), *request.after(words(name)), *request.candidates):
        ready, place = fitting(value, wanted), request.place(value)
        if ready is None or place < 0:
            continue
        taken = key(value) in used or key(ready) in used
        before = request.before(place)[:NEAR]
        near = [max((_alike(word, other) for other in about), default=0.0) for word in before]
        if before and before[0] in own[:-1]:
            near[0] = PART
        if "name" in map(str.lower, re.findall(r"[A-Za-z][a-z]*", name)) and request.is_name(place):
            near = [EXACT, *near]
        score = max(near[:1], default=0.0) or (BEFORE if any(near) else 0.0)
        score += suits(value, name)
        score += LITTLE * (sum(map(bool, near)) + any(word in more for word in before))
        score += LITTLE * (value in request.marked) + EXACT * ("enum" in wanted)
        if taken and score < CALLED:
            continue
        home_score = AT_HOME * (home is not None and home[0] <= place < home[1])
        distance = min((abs(place - other) for other in places), default=-place)
        one = Named(score - USED * taken, taken, ready)
        found.append(((taken, -one.score - home_score, distance, key(ready)), one))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _alike(one: str, other: str) -> float:
    if one == other:
        return EXACT
    short, long = sorted((one, other), key=len)
    return CALLED if len(short) >= SHORT and long.startswith(short) else 0.0


def _listed(wanted: Schema, request: Request) -> list[Any]:
    """Values of a list of values that the request says."""
    values = wanted.get("enum")
    held = values if isinstance(values, list) else []
    return [value for value in held if isinstance(value, str) and request.place(value) >= 0]
