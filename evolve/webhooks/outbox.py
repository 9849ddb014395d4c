"""What is still to be told, in the database: written in one transaction with how far the ledgers were read, so that nothing
is forgotten and nothing is made twice. The first look ever begins at the ledgers' ends.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from evidence.canonical import canonical_json
from evidence.ledger import Entry, Ledger
from evidence.store import Store
from evolve.settings import WebhookSection
from evolve.tables import WebhookCursorRow, WebhookRow
from evolve.webhooks.events import event_of

BACKOFF = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""Waits after each failure; after the last one a message is given up."""
LEASE = timedelta(seconds=30)
"""How long a message is its sender's alone; who died holding it has sent it or not."""
_AT_ONCE = 500


def gather(store: Store, ledgers: dict[str, Path], hooks: Sequence[WebhookSection], now: datetime) -> int:
    """Read on in the ledgers and put down what each webhook is to be told; returns how many messages that made."""
    made = 0
    for name, path in ledgers.items():
        if not path.exists():
            continue
        with Ledger(path, create=False) as ledger:
            size = ledger.head()[0]
            with store.read() as session:
                cursor = session.get(WebhookCursorRow, name)
                seen = cursor.seq if cursor else None
            if seen == size:
                continue
            entries = [] if seen is None or seen > size else ledger.entries(seen, _AT_ONCE)
        made += _put_down(store, name, entries, entries[-1].seq if entries else size, hooks, now)
    return made


def _put_down(
    store: Store,
    ledger: str,
    entries: Sequence[Entry],
    upto: int,
    hooks: Sequence[WebhookSection],
    now: datetime,
) -> int:
    made = 0
    with store.write() as session:
        for entry in entries:
            event = event_of(session, entry)
            for hook in hooks:
                if event is None or event.type not in hook.events:
                    continue
                message = event.message_id(hook.url)
                if session.exec(_named(message)).first() is None:
                    body = canonical_json(event.body()).decode()
                    session.add(
                        WebhookRow(
                            id=message, url=hook.url, event=event.type, body=body, due=now, created=now
                        )
                    )
                    made += 1
        session.merge(WebhookCursorRow(ledger=ledger, seq=upto))
    return made


def claim(store: Store, url: str, now: datetime) -> WebhookRow | None:
    """The next message to this address that is due, one attempt more, and for a while nobody else's."""
    with store.write() as session:
        row = session.exec(_due(url, now)).first()
        if row is None:
            return None
        row.attempts += 1
        row.due = now + LEASE
        session.add(row)
        session.flush()
        session.expunge(row)
        return row


def settle_sent(store: Store, message: str) -> None:
    with store.write() as session:
        row = session.exec(_named(message)).one()
        row.state, row.error = "sent", ""
        session.add(row)


def settle_failed(
    store: Store, message: str, error: str, now: datetime, *, for_good: bool = False
) -> datetime | None:
    """Note why; returns when it is tried again, None when it is given up."""
    with store.write() as session:
        row = session.exec(_named(message)).one()
        row.error = error[:500]
        wait = None if for_good or row.attempts > len(BACKOFF) else BACKOFF[row.attempts - 1]
        if wait is None:
            row.state = "given_up"
        else:
            row.due = now + wait
        session.add(row)
        return None if wait is None else now + wait


def _named(message: str) -> SelectOfScalar[WebhookRow]:
    return select(WebhookRow).where(WebhookRow.id == message)


def _due(url: str, now: datetime) -> SelectOfScalar[WebhookRow]:
    waiting = select(WebhookRow).where(WebhookRow.url == url, WebhookRow.state == "waiting")
    return waiting.where(col(WebhookRow.due) <= now).order_by(col(WebhookRow.n)).limit(1)


def messages(session: Session) -> Sequence[WebhookRow]:
    """All of them, oldest first."""
    return session.exec(select(WebhookRow).order_by(col(WebhookRow.n))).all()
