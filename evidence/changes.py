"""Decisions are written in the same transaction as what they change, and handed to the ledger afterwards.

A crash between the two leaves them waiting; the next call hands them over. A crash while handing over may
repeat an entry:
its `change` id is the same then.
"""

from collections.abc import Mapping

from sqlmodel import Session, col, select

from evidence.canonical import new_id, utcnow
from evidence.store import Store
from evidence.tables import ChangeRow


def note(
    session: Session, kind: str, subject: str, who: str, reason: str, data: Mapping[str, object] | None = None
) -> None:
    session.add(
        ChangeRow(
            id=new_id(),
            subject=subject,
            kind=kind,
            data=dict(data or {}),
            who=who,
            reason=reason,
            at=utcnow().isoformat(),
        )
    )


def first_note(session: Session, kind: str, subject: str) -> Mapping[str, object] | None:
    """The data of the first decision of this kind about it, whether the ledger has it yet or not."""
    query = select(ChangeRow).where(ChangeRow.kind == kind, ChangeRow.subject == subject)
    row = session.exec(query.order_by(col(ChangeRow.n))).first()
    return None if row is None else row.data or {}


def publish(store: Store) -> None:
    """Hand waiting decisions to the ledger, oldest first."""
    if store.journal is None:
        return
    waiting = select(ChangeRow).where(col(ChangeRow.journaled).is_(False)).order_by(col(ChangeRow.n))
    with store.read() as session:
        if session.exec(waiting.limit(1)).first() is None:
            return
    with store.write() as session:
        for row in session.exec(waiting):
            data = {"change": row.id, "subject": row.subject, **(row.data or {})}
            store.journal.append(row.kind, data, row.who, row.reason)
            row.journaled = True
            session.add(row)
