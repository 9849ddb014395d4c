"""What no recorded user did: names of sessions that look alike or mean something to a database, and requests that make no
sense.

The turns of some regression cases are replayed with their sessions renamed; what is remembered for one must not be told to
another. In a second process come bodies and addresses that no client sends. Whoever splices a name into a query, looks it
up as a pattern, or adds a door to a service is caught by what nobody has asked yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evidence.canonical import new_id
from evidence.cases import Cassette, RecordedTurn, RegressionCase
from trial.long_life import Life, LifeCase, Outcomes, lost_of, make_life
from trial.measure import VerdictPolicy
from trial.replay import Replay
from trial.report import Check

MOST_TURNS = 40
NO_STRANGERS = Check(name="strangers", ok=True, reason="no turn that worked to stand among them")
NAMES = (
    "ada",
    "ad%",
    "ada' OR '1'='1",
    "ADA",
    'ada" OR "1"="1',
    "a_a",
    "ada;--",
    "%",
    "ada*",
    "ada/../bob",
    "../ada",
    "ada\\",
    "ada{}",
    "[a]da",
    "ada" * 60,
    "0",
)
"""Of sessions, the most telling first. More of them have a number behind."""
_DEEP: list[object] = []
for _ in range(200):
    _DEEP = [_DEEP]
BODIES: tuple[dict[str, object], ...] = (
    {},
    {"messages": None},
    {"messages": "hi"},
    {"messages": [None]},
    {"messages": ["hi"]},
    {"messages": [[]]},
    {"messages": [{}]},
    {"messages": [{"role": "user"}]},
    {"messages": [{"role": "user", "content": 7}]},
    {"messages": [{"role": "user", "content": {"text": "hi"}}]},
    {"messages": [{"role": 7, "content": "hi"}]},
    {"messages": {"role": "user", "content": "hi"}},
    {"messages": _DEEP},
    {"target": {}, "rating": 5, "request_id": None},
)
"""Of requests that no client sends."""
TEXTS = ("", "\0", "'", "%", "{", "x" * 100_000)
PATHS = (
    "/",
    "/admin",
    "/debug",
    "/metrics",
    "/v1",
    "/v1/sessions",
    "/v1/state",
    "/state.db",
    "/events.jsonl",
    "/../state",
)


@dataclass(frozen=True)
class Met:
    """What an image made of strangers."""

    passed: Outcomes
    statuses: Mapping[str, int | None]
    """Odd request's id -> what was answered; None: nothing whole. Without those for which a model or tool was asked: it was
    not there."""

    def or_else(self, other: "Met") -> "Met":
        """What went well in one of two tries."""
        return Met(
            {case: right or other.passed.get(case, False) for case, right in self.passed.items()},
            {
                ident: min(((status or 999), (other.statuses.get(ident) or 999)))
                for ident, status in self.statuses.items()
            },
        )


@dataclass(frozen=True)
class Strangers:
    """Two replays."""

    renamed: Life
    odd: LifeCase
    """It has no model or tool to ask."""


def statuses(odd: Replay) -> dict[str, int | None]:
    """For `Met`."""
    asked = {call.request_id for call in odd.calls}
    return {turn.request_id: turn.status for turn in odd.turns if turn.request_id not in asked}


def make_strangers(cases: Sequence[RegressionCase]) -> Strangers | None:
    """Of cases that worked, those that remember something first. None when there are none."""
    alone = [case for case in cases if all(turn.session == case.turn.session for turn in case.prelude)]
    chosen: list[RegressionCase] = []
    turns = 0
    for case in sorted(alone, key=lambda case: (not case.prelude, case.turn.started, case.id)):
        turns += len(case.prelude) + 1
        if turns > MOST_TURNS:
            break
        chosen.append(case)
    names = _names(chosen)
    renamed = make_life([_renamed(case, names) for case in chosen])
    if renamed is None:
        return None
    like = renamed.case.turn
    said = [{"messages": [{"role": "user", "content": text}]} for text in TEXTS]
    odd = [_odd(like, {"body": body}) for body in (*BODIES, *said)]
    odd += [_odd(like, {"path": path}) for path in PATHS]
    nobody = {"id": new_id(), "prelude": tuple(odd[:-1]), "turn": odd[-1], "cassette": Cassette()}
    return Strangers(
        renamed, renamed.case.model_copy(update={**nobody, "on_model_miss": "fail", "on_tool_miss": "fail"})
    )


def _names(cases: Sequence[RegressionCase]) -> dict[str, str]:
    sessions = list(dict.fromkeys(case.turn.session for case in cases))
    return {
        session: NAMES[place % len(NAMES)] + (str(place) if place >= len(NAMES) else "")
        for place, session in enumerate(sessions)
    }


def _renamed(case: RegressionCase, names: Mapping[str, str]) -> RegressionCase:
    def rename(turn: RecordedTurn) -> RecordedTurn:
        return turn.model_copy(update={"session": names[turn.session]})

    return case.model_copy(
        update={"turn": rename(case.turn), "prelude": tuple(rename(turn) for turn in case.prelude)}
    )


def _odd(like: RecordedTurn, change: Mapping[str, object]) -> RecordedTurn:
    ident = new_id()
    return like.model_copy(update={"request_id": ident, "session": f"s-{ident}", "latency": 0.0, **change})


def strangers(made: Strangers, baseline: Met, candidate: Met, policy: VerdictPolicy) -> Check:
    """Does the candidate tell sessions apart and turn away what makes no sense, as the live image does?"""
    harmed, lost = lost_of(baseline.passed, candidate.passed, policy)
    found = [f"with other names of sessions {lost} are lost"] if harmed else []
    turns = (*made.odd.prelude, made.odd.turn)
    for turn in turns:
        ident = turn.request_id
        was = baseline.statuses.get(ident)
        if was is None or was >= 500 or ident not in candidate.statuses:
            continue
        now = candidate.statuses[ident]
        what = f"{turn.path} with {str(turn.body)[:60]}"
        if now is None or now >= 500:
            found.append(f"{what} breaks it, where the live image answers {was}")
        elif now < 300 <= was:
            found.append(f"it answers {what} with {now}, the live image with {was}")
    said = f"with other names of sessions {lost} are lost, and none of {len(turns)} odd requests is let in or breaks it"
    return Check(name="strangers", ok=not found, reason=found[0] if found else said)
