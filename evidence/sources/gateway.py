"""The gateway's log of calls: what the service really asked for and got, whatever it reports itself."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session, col, select

from evidence.canonical import digest
from evidence.cases import RecordedCall
from evidence.redact import Redactor
from evidence.sources.cursor import Counts, Source, keep_aside
from evidence.sources.events import mark_dirty
from evidence.sources.parse import BadLine, column, parse
from evidence.sources.tail import Line
from evidence.store import insert_new
from evidence.tables import CallRow, CatalogRow


def _call(line: dict[str, Any]) -> dict[str, Any]:
    try:
        ts, key = float(line.pop("ts")), column(line.pop("id"), "id")
        call = RecordedCall.model_validate(line)
    except KeyError as error:
        raise BadLine(f"{error.args[0]}: missing") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadLine(f"{'.'.join(str(p) for p in first['loc'])}: {first['msg']}") from None
    except TypeError:
        raise BadLine("ts: not a number") from None
    column(call.request_id, "request_id")
    return {"id": key, "ts": ts, "request_id": call.request_id, "body": call.model_dump(mode="json")}


def _catalog(line: dict[str, Any]) -> dict[str, Any]:
    ts = line.get("ts")
    if not isinstance(line["catalog"], dict) or not isinstance(ts, int | float):
        raise BadLine("catalog: not an object with a ts")
    return {"id": digest([ts, line["catalog"]]), "ts": float(ts), "body": line["catalog"]}


def store_calls(
    session: Session, source: Source, lines: Sequence[Line], redactor: Redactor, counts: Counts
) -> None:
    """Store one chunk of the log; turns that these calls belong to are judged again."""
    calls: dict[str, dict[str, Any]] = {}
    catalogs: list[dict[str, Any]] = []
    for line in lines:
        counts.lines += 1
        if not line.data.strip() and not line.oversized:
            continue
        try:
            data = parse(line, redactor)
            if "catalog" in data:
                catalogs.append(_catalog(data))
            else:
                row = _call(data)
                calls.setdefault(row["id"], row)
        except BadLine as error:
            keep_aside(session, source, line, str(error), redactor, counts)
    taken = set(session.exec(select(CallRow.id).where(col(CallRow.id).in_(list(calls)))))
    new = [row for key, row in calls.items() if key not in taken]
    counts.new += len(new)
    counts.duplicates += len(taken)
    insert_new(session, CallRow, new)
    insert_new(session, CatalogRow, catalogs)
    mark_dirty(session, [row["request_id"] for row in new if row["request_id"]])
