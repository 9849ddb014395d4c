"""From the logs to open batches: read what is new, judge the turns that it changed.

Can be killed and run again at any point.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evidence.assess import Assessed, assess_some
from evidence.changes import publish
from evidence.quota import FlagQuota
from evidence.redact import Redactor
from evidence.signals import LoadedRule
from evidence.sources.cursor import Counts, CursorMoved, Source, find_cursor, move, position_of
from evidence.sources.events import store_events
from evidence.sources.gateway import store_calls
from evidence.sources.tail import Chunk, Position, chunks, plan
from evidence.store import Store


@dataclass(frozen=True)
class IntakeReport:
    """What one pass did.

    `events` and `calls` count new ones; `aside` is (log, reason) of each unusable line.
    """

    events: int
    calls: int
    duplicates: int
    aside: tuple[tuple[str, str], ...]
    turns: int
    evidence: int
    batches: int
    flags_over_quota: int
    broken_rules: tuple[str, ...]
    warnings: tuple[str, ...]


def intake(
    store: Store,
    sources: Sequence[Source],
    *,
    redactor: Redactor,
    rules: Sequence[LoadedRule] = (),
    quota: FlagQuota | None = None,
) -> IntakeReport:
    """Read all complete lines that are there now.

    Events are read before calls: a turn that ended has all its calls logged.
    """
    counts = {"events": Counts(), "gateway": Counts()}
    for source in sorted(sources, key=lambda s: s.kind):
        _read(store, source, redactor, counts[source.kind])
    done = Assessed()
    while True:
        with store.write() as session:
            if not assess_some(session, rules, redactor, quota or FlagQuota(), done):
                break
    publish(store)
    both = tuple(counts.values())
    return IntakeReport(
        events=counts["events"].new,
        calls=counts["gateway"].new,
        duplicates=sum(c.duplicates for c in both),
        aside=tuple(line for c in both for line in c.aside),
        turns=done.turns,
        evidence=done.evidence,
        batches=done.batches,
        flags_over_quota=done.flags_over_quota,
        broken_rules=tuple(sorted(done.broken_rules)),
        warnings=tuple(w for c in both for w in c.warnings),
    )


def _read(store: Store, source: Source, redactor: Redactor, counts: Counts) -> None:
    with store.write() as session:
        before = position_of(find_cursor(session, source), source.path)
    reading = plan(source.path, before)
    if reading.gap:
        counts.warnings.append(reading.gap)
    try:
        for chunk in chunks(reading):
            _store_chunk(store, source, before, chunk, redactor, counts)
            before = chunk.after
    except CursorMoved:
        counts.warnings.append(f"{source.path} is being read by another process")


def _store_chunk(
    store: Store, source: Source, before: Position, chunk: Chunk, redactor: Redactor, counts: Counts
) -> None:
    seen = Counts()
    with store.write() as session:
        process_id = find_cursor(session, source).process_id
        move(session, source, before, chunk.after, process_id)
        if source.kind == "events":
            now = store_events(session, source, chunk.lines, process_id, redactor, seen)
            if now != process_id:
                move(session, source, chunk.after, chunk.after, now)
        else:
            store_calls(session, source, chunk.lines, redactor, seen)
    counts.lines += seen.lines
    counts.new += seen.new
    counts.duplicates += seen.duplicates
    counts.aside += seen.aside
