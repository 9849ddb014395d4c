"""A person, or the agent on a person's behalf, says that a turn was wrong."""

from evidence.canonical import new_id, utcnow
from evidence.changes import note, publish
from evidence.redact import Redactor
from evidence.sources.events import mark_dirty
from evidence.store import NotFound, Store
from evidence.tables import FlagRow, TurnRow


def flag(
    store: Store, request_id: str, *, who: str, reason: str, redactor: Redactor, operator: bool = False
) -> str:
    """Flag a turn; the next intake judges it again. An operator's flag is not subject to the quota.

    Returns the flag's id.
    """
    flag_id, comment = new_id(), redactor.text(reason)[:2000]
    with store.write() as session:
        if session.get(TurnRow, request_id) is None:
            raise NotFound(f"no turn {request_id}")
        session.add(
            FlagRow(
                id=flag_id,
                request_id=request_id,
                principal=who,
                rating="down",
                comment=comment,
                operator=operator,
                ts=utcnow().timestamp(),
            )
        )
        mark_dirty(session, [request_id])
        note(session, "turn.flagged", request_id, who, comment)
    publish(store)
    return flag_id
