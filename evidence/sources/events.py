"""A service's own `events.jsonl`, into events, turns, process starts and flags."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select, update

from evidence.redact import Redactor
from evidence.schemas import event_problem
from evidence.sources.cursor import Counts, Source, keep_aside
from evidence.sources.parse import BadLine, column, parse
from evidence.sources.tail import Line
from evidence.store import insert_new
from evidence.tables import EventRow, FlagRow, ProcessRow, TurnRow


def _check(event: dict[str, Any]) -> None:
    if problem := event_problem(event):
        raise BadLine(problem)
    for name in ("id", "session", "turn"):
        column(event[name], name)


def _usable(
    session: Session, source: Source, lines: Sequence[Line], redactor: Redactor, counts: Counts
) -> list[dict[str, Any]]:
    """The events of a chunk that fit the schema and are new, in order."""
    events: dict[str, dict[str, Any]] = {}
    for line in lines:
        counts.lines += 1
        if not line.data.strip() and not line.oversized:
            continue
        try:
            event = parse(line, redactor)
            _check(event)
        except BadLine as error:
            keep_aside(session, source, line, str(error), redactor, counts)
            continue
        if event["id"] in events:
            counts.duplicates += 1
        events.setdefault(event["id"], event)
    taken = set(session.exec(select(EventRow.id).where(col(EventRow.id).in_(list(events)))))
    counts.duplicates += len(taken)
    return [event for key, event in events.items() if key not in taken]


def store_events(
    session: Session,
    source: Source,
    lines: Sequence[Line],
    process_id: str | None,
    redactor: Redactor,
    counts: Counts,
) -> str | None:
    """Store one chunk; returns the process that the next line belongs to."""
    events = _usable(session, source, lines, redactor, counts)
    counts.new += len(events)
    rows = []
    for event in events:
        if event["kind"] == "process_started":
            _process(session, event, process_id)
            process_id = event["id"]
        rows.append(
            {k: event[k] for k in ("id", "ts", "kind", "session", "turn", "seq")}
            | {"process_id": process_id, "body": event}
        )
    insert_new(session, EventRow, rows)
    _turns(session, {row["id"]: row["process_id"] for row in rows}, events)
    _feedback(session, events)
    return process_id


def _process(session: Session, event: dict[str, Any], previous: str | None) -> None:
    insert_new(
        session,
        ProcessRow,
        [
            {
                "id": event["id"],
                "ts": event["ts"],
                "epoch": str(event["epoch"])[:40],
                "digest": str(event["digest"])[:100],
                "boot_nonce": str(event["boot_nonce"])[:100],
            }
        ],
    )
    if previous is not None:
        session.flush()
        session.connection().execute(
            update(TurnRow)
            .where(col(TurnRow.process_id) == previous, col(TurnRow.ended).is_(False))
            .values(lost=True, dirty=True)
        )


def _turns(session: Session, process_of: dict[str, str | None], events: Sequence[dict[str, Any]]) -> None:
    """Bring the turn rows that these events speak of up to date."""
    ids = {e["turn"] for e in events if e["turn"] and e["kind"] not in ("process_started", "process_stopped")}
    turns = {
        t.request_id: t for t in session.exec(select(TurnRow).where(col(TurnRow.request_id).in_(list(ids))))
    }
    started = [e["id"] for e in events if e["kind"] == "turn_started"]
    places: dict[str, int] = {}
    if started:
        found = session.exec(select(EventRow.id, EventRow.n).where(col(EventRow.id).in_(started)))
        places = {key: n for key, n in found if n is not None}
    for event in events:
        if event["turn"] not in ids or event["kind"] == "feedback":
            continue
        turn = turns.get(event["turn"])
        if turn is None:
            turn = turns[event["turn"]] = TurnRow(request_id=event["turn"], session=event["session"])
            session.add(turn)
        turn.dirty = True
        if event["kind"] == "turn_started":
            _start(turn, event, process_of[event["id"]], places[event["id"]])
        elif event["kind"] == "turn_ended":
            _end(turn, event)
    session.flush()


def _start(turn: TurnRow, event: dict[str, Any], process_id: str | None, position: int) -> None:
    user = event["body"].get("user")
    turn.session = event["session"]
    turn.principal = f"user:{user[:100]}" if isinstance(user, str) and user else f"session:{event['session']}"
    turn.principal = turn.principal.replace("\x00", "�")
    turn.process_id = process_id
    turn.position = position
    turn.path = event["path"].replace("\x00", "�")[:500]
    turn.body = event["body"]
    turn.clock = event["clock"]
    turn.lost = False


def _end(turn: TurnRow, event: dict[str, Any]) -> None:
    turn.status = event["status"]
    turn.reply = event.get("reply")
    turn.latency = event["ms"] / 1000
    turn.timed_out = bool(event.get("timed_out"))
    turn.ended = True
    turn.lost = False


def _feedback(session: Session, events: Sequence[dict[str, Any]]) -> None:
    given = [
        e for e in events if e["kind"] == "feedback" and len(e["target"]) <= 200 and "\x00" not in e["target"]
    ]
    rows = [
        {
            "id": e["id"],
            "request_id": e["target"],
            "principal": f"session:{e['session']}" if e["session"] else "",
            "rating": e["rating"],
            "comment": str(e.get("comment") or "")[:2000].replace("\x00", "�"),
            "operator": False,
            "counted": None,
            "ts": e["ts"],
        }
        for e in given
    ]
    insert_new(session, FlagRow, rows)
    mark_dirty(session, [e["target"] for e in given])


def mark_dirty(session: Session, request_ids: Sequence[str]) -> None:
    """These turns must be judged again."""
    if request_ids:
        session.connection().execute(
            update(TurnRow).where(col(TurnRow.request_id).in_(sorted(set(request_ids)))).values(dirty=True)
        )
