"""Evidence intake of a service's event log against the least that any intake does: parse each line, insert it."""

import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.measure import Result, interleaved, median, ratio, timed
from evidence.canonical import new_id
from evidence.intake import intake
from evidence.ledger import Ledger
from evidence.redact import Redactor
from evidence.sources.cursor import Source
from evidence.sources.tail import CHUNK_LINES
from evidence.store import Store, sqlite_url
from evolve.migrations import upgrade

PEER = "json.loads of each line and one INSERT into SQLite (WAL, synchronous = FULL), a commit per 500 lines"
FAILING = 0.1
TEXT = "the order of this customer was sent back late and she wants her money for it today please look"


def events(turns: int, seed: int) -> Iterator[dict[str, object]]:
    """Six events a turn (request, model call and reply, tool call and result, answer); every tenth tool fails."""
    dice, words = random.Random(seed), TEXT.split()
    start = {"epoch": "1", "digest": "sha256:" + "1" * 64, "boot_nonce": "n"}
    yield event(0, "process_started", "", "", 0, **start)
    for number in range(turns):
        session, turn = f"s{number // 5}", f"r{number}"
        said, found, answer = (" ".join(dice.choices(words, k=n)) + f" {number}" for n in (30, 120, 60))
        message = {"role": "user", "content": said}
        bad = dice.random() < FAILING
        call: dict[str, object] = {"call_id": f"{turn}-0", "server": "shop", "tool": "orders"}
        kinds: list[tuple[str, dict[str, object]]] = [
            (
                "turn_started",
                {"path": "/v1/chat/completions", "body": {"messages": [message]}, "clock": 1.7e9},
            ),
            ("model_call", {"index": 0, "model": "default", "messages": [message], "tools": []}),
            (
                "model_reply",
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ""},
                    "finish_reason": "tool",
                    "usage": {},
                    "ms": 1.5,
                },
            ),
            ("tool_call", {**call, "arguments": {"customer": number}}),
            (
                "tool_result",
                {
                    **call,
                    "content": f"backend {number % 4} is down" if bad else found,
                    "is_error": bad,
                    "ms": 2.5,
                },
            ),
            ("turn_ended", {"status": 200, "reply": {"text": answer}, "ms": 5.5, "timed_out": False}),
        ]
        for seq, (kind, fields) in enumerate(kinds):
            yield event(number, kind, session, turn, seq, **fields)


def event(number: int, kind: str, session: str, turn: str, seq: int, **fields: object) -> dict[str, object]:
    common = {"v": 1, "id": new_id(), "ts": 1.7e9 + number, "kind": kind}
    return {**common, "session": session, "turn": turn, "seq": seq, **fields}


def ours(log: Path, count: int, failed: int) -> float:
    """Into a new installation each time; making its tables is not counted."""
    with tempfile.TemporaryDirectory(prefix="bi-") as name:
        home = Path(name)
        upgrade(sqlite_url(home / "evolve.db"))
        with (
            Ledger(home / "ledger.db") as ledger,
            Store(sqlite_url(home / "evolve.db"), home / "blobs", ledger) as store,
        ):
            redactor, sources = Redactor(b"k" * 32), [Source("events", log)]
            began = time.perf_counter()
            report = intake(store, sources, redactor=redactor)
            took = 1000 * (time.perf_counter() - began)
    if (report.events, report.evidence, report.aside) != (count, failed, ()):
        raise SystemExit(
            f"the intake found {report.events} events, {report.evidence} failures, aside {report.aside[:1]}"
        )
    return took


def bare(log: Path, count: int) -> float:
    with tempfile.TemporaryDirectory(prefix="bi-") as name:
        db = sqlite3.connect(Path(name) / "bare.db", isolation_level=None)
        for line in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
            db.execute(line)
        db.execute("CREATE TABLE events (id TEXT PRIMARY KEY, body TEXT NOT NULL)")
        took = timed(lambda: insert(db, log))
        stored = db.execute("SELECT count(*) FROM events").fetchone()[0]
        db.close()
    if stored != count:
        raise SystemExit(f"the peer stored {stored} of {count} events")
    return took


def insert(db: sqlite3.Connection, log: Path) -> None:
    with log.open(encoding="utf-8") as lines:
        while portion := list(islice(lines, CHUNK_LINES)):
            db.execute("BEGIN IMMEDIATE")
            for line in portion:
                db.execute("INSERT INTO events VALUES (?, ?)", (json.loads(line)["id"], line))
            db.execute("COMMIT")


def measure(small: bool) -> Result:
    turns, rounds = (20, 2) if small else (1000, 9)
    with tempfile.TemporaryDirectory(prefix="bi-") as name:
        log = Path(name) / "events.jsonl"
        made = list(events(turns, seed=1))
        log.write_text("".join(json.dumps(one) + "\n" for one in made), encoding="utf-8")
        failed = sum(bool(one.get("is_error")) for one in made)
        ways = {
            "intake": lambda: ours(log, len(made), failed),
            "bare": lambda: bare(log, len(made)),
        }
        figures = interleaved(ways, rounds, "intake")
        size = log.stat().st_size
    each = {key: median([1000 * ms / len(made) for ms in some], 1) for key, some in figures.items()}
    return {
        "what": "a new log of one process: read, redacted, stored, its turns judged, failures grouped; microseconds",
        "peers": {"bare": PEER},
        "n": rounds,
        "events": len(made),
        "bytes_per_event": round(size / len(made)),
        "turns": turns,
        "failed_turns": failed,
        "median_us_per_event": each,
        "intake_to_bare": ratio(figures["intake"], figures["bare"]),
    }
