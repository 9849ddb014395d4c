"""What a run of traffic through swaps is told in: waits, from all requests; gaps without a writer, from the ledger."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import median

from promote_traffic import Sent

from evidence.ledger import Entry

Span = tuple[float, float]
Figures = dict[str, float]
SHUT, OPENED = ("HOLD", "RB_HOLD"), ("RELEASED", "ROLLED_BACK")
LEFT, STARTED = ("FENCE", "RB_FENCE"), ("START", "RB_START")


def spans(entries: Iterable[Entry], first: Sequence[str], last: Sequence[str]) -> list[Span]:
    """From the intent of one of `first` to the end of one of `last`, in unix seconds."""
    found: list[Span] = []
    since: float | None = None
    for entry in entries:
        state, phase = entry.data.get("state"), entry.data.get("phase")
        at = datetime.fromisoformat(str(entry.ts)).timestamp()
        if since is None and state in first and phase == "intent":
            since = at
        elif since is not None and state in last and phase == "done":
            found.append((since, at))
            since = None
    return found


def shut_gates(entries: Iterable[Entry]) -> list[Span]:
    return spans(entries, SHUT, OPENED)


def without_a_writer(entries: Iterable[Entry]) -> list[float]:
    """Milliseconds from when an instance is told to end to when the next one was started."""
    return [1000 * (end - start) for start, end in spans(entries, LEFT, STARTED)]


def added_waits(sent: Sequence[Sent], shut: Sequence[Span]) -> tuple[list[float], list[float]]:
    """Milliseconds beyond the median of turns that met no shut gate: of all turns, and of those that met one."""
    met = [
        any(item.began < end and item.began + item.seconds > start for start, end in shut) for item in sent
    ]
    usual = median(item.seconds for item, waited in zip(sent, met, strict=True) if not waited)
    added = [1000 * max(0.0, item.seconds - usual) for item in sent]
    return added, [wait for wait, waited in zip(added, met, strict=True) if waited]


def spread(values: Sequence[float]) -> Figures:
    """How many, and where half, 99 of a hundred, and all of them lie."""
    ordered = sorted(values)

    def at(part: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 1) if ordered else 0.0

    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": at(1.0)}
