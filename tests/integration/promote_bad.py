"""Bad candidates: how each kind must end, and how soon the old image answers again."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from promote_rig import Rig, until
from promote_traffic import Traffic

from evidence.ledger import Ledger

TURNS = 40
"""What a bake must see; `late_at_nine_tenths` counts on it."""
BAD: Mapping[str, tuple[str, str]] = {
    "crash": ("closed", "shadow boot"),
    "never_boots": ("closed", "no answer on /healthz"),
    "unhealthy": ("closed", "no answer on /healthz"),
    "lossy": ("closed", "lossy"),
    "dies_where_it_is_live": ("rolled_back", "ended before it was ready"),
    "no_heartbeat": ("rolled_back", "no moving heartbeat"),
    "refuses": ("rolled_back", "canary turn: 500"),
    "hangs": ("rolled_back", "canary turn"),
    "wrong": ("rolled_back", "lacks"),
    "forgets": ("rolled_back", "lacks"),
    "lenient": ("rolled_back", "canary"),
    "late_bad": ("rolled_back", "turns failed"),
    "late_at_nine_tenths": ("rolled_back", "turns failed"),
    "flaps": ("rolled_back", "turns failed"),
    "stubborn": ("rolled_back", "turns failed"),
    "late_death": ("rolled_back", "gone"),
    "never_drains": ("rolled_back", "a live turn hangs"),
    "crawls": ("rolled_back", "turns take more than"),
    "leaks": ("rolled_back", ""),
    "eats_disk": ("rolled_back", ""),
}
"""How it ends, and a word of the reason; where there is none, it may be caught in more than one way."""
_SCHEMA: Mapping[str, object] = {"schema_reads": (1, 2), "schema_writes": 2}


@dataclass(frozen=True)
class Ending:
    kind: str
    state: str
    problems: tuple[str, ...]
    released: bool = False
    restored: float | None = None
    """Seconds until the old image answered again: from HOLD where users never met the candidate, else from the row that
    says what was found. None: it never stopped."""


def try_bad(rig: Rig, kind: str) -> Ending:
    """Promote it under traffic; the old image must be live and answer in the end."""
    before = rig.live_image()
    with Traffic(rig, clients=3, pause=0.03) as traffic:
        until(lambda: len(traffic.sent) >= 25, 60.0)  # the outgoing image's pace is known
        changes = dict(_SCHEMA) if kind == "lossy" else {}
        record = rig.finish(rig.promote(kind, both=kind == "lossy", bake_turns=TURNS, **changes), 120.0)
        ended = datetime.fromisoformat(record.ended).timestamp()
        first = until(lambda: _first_answer(traffic, ended), 60.0)
    state, reason = BAD[kind]
    problems = traffic.lost_or_doubled()
    if record.state != state or record.live_image != before or rig.live_image() != before:
        problems.append(f"{kind} ended {record.state}: {record.reason}")
    if reason not in record.reason:
        problems.append(f"{kind}: not for the reason that was meant: {record.reason}")
    running = [i.digest for i in rig.runtime.find({"evolve.service": rig.service}) if i.status().running]
    if running != [before]:
        problems.append(f"{kind}: what runs in the end: {running}")
    times = _times(rig, record.swap)
    released = "RELEASED" in times
    sign = times.get("RB_BEGIN" if released else "HOLD")
    if not released and {item.status for item in traffic.sent} != {200}:
        problems.append(f"{kind}: users met it")
    return Ending(kind, record.state, tuple(problems), released, None if sign is None else first - sign)


def _first_answer(traffic: Traffic, since: float) -> float | None:
    return min(
        (item.at for item in list(traffic.sent) if item.status == 200 and item.at >= since), default=None
    )


def _times(rig: Rig, swap: str) -> dict[str, float]:
    """When each state of the swap was first written."""
    found: dict[str, float] = {}
    with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
        for entry in ledger.entries():
            if entry.data.get("swap") == swap:
                found.setdefault(str(entry.data["state"]), datetime.fromisoformat(entry.ts).timestamp())
    return found


def report(endings: Iterable[Ending]) -> dict[str, object]:
    """Seconds until the old image served again, and how many of how many kinds were committed."""
    known = list(endings)
    waits = {
        name: sorted(e.restored for e in known if e.restored is not None and e.released == released)
        for name, released in (("caught_before_release", False), ("caught_after_release", True))
    }
    return {
        "candidates": len(known),
        "kinds": len({e.kind for e in known}),
        "committed": sum(e.state == "committed" for e in known),
        **{name: _spread(seconds) for name, seconds in waits.items()},
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"count": 0}
    at = {name: seconds[math.ceil(share * len(seconds)) - 1] for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {"count": len(seconds), **{n: round(s, 2) for n, s in {**at, "max": seconds[-1]}.items()}}
