"""Intake is killed in the middle, again and again, while the service writes and its logs rotate."""

import random
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "evidence"))
from evidence_logs import REDACTOR, Log, open_store

from evidence import queries
from evidence.intake import intake

KILLS = 10
READER = """
import sys
from pathlib import Path
from evidence.intake import intake
from evidence.sources.cursor import Source
from evidence.redact import Redactor
from evidence.store import Store, sqlite_url
folder = Path(sys.argv[1])
sources = [Source("events", folder / "log/events.jsonl"), Source("gateway", folder / "log/calls.jsonl")]
with Store(sqlite_url(folder / "evolve.db"), folder / "blobs") as store:
    print("ready", flush=True)
    while True:
        intake(store, sources, redactor=Redactor(b"k" * 32))
"""


def write_some(log: Log, dice: random.Random, turns: list[str]) -> None:
    for _ in range(dice.randrange(50, 250)):
        error = "no such row" if dice.random() < 0.1 else ""
        turns.append(log.turn(f"q{len(turns)}", error=error, tool="find"))
    for path in (log.events, log.calls):
        if dice.random() < 0.4:
            path.rename(path.with_name(f"{path.name}.{1000 + len(turns)}"))


def test_every_event_counts_once_through_sigkill_and_rotation(tmp_path: Path) -> None:
    dice = random.Random(4)
    open_store(tmp_path).close()
    log = Log(tmp_path / "log")
    log.start()
    turns: list[str] = []
    for _ in range(KILLS):
        write_some(log, dice, turns)
        command = [sys.executable, "-c", READER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"ready\n"
            time.sleep(dice.random() * 0.5)
            reader.kill()
    turns.append(log.turn("the last"))
    with open_store(tmp_path) as store:
        intake(store, log.sources, redactor=REDACTOR)
        with store.read() as session:
            run = session.connection().execute
            events = run(text("SELECT count(*) FROM evidence_event")).scalar_one()
            assert run(text("PRAGMA integrity_check")).scalar_one() == "ok"
            calls = run(text("SELECT count(*) FROM evidence_call")).scalar_one()
            order = run(text("SELECT request_id FROM evidence_turn ORDER BY position")).scalars().all()
        assert queries.list_aside(store) == []
        assert sum(queries.count_turns(store).values()) == len(turns)
        assert len(queries.list_batches(store)) == 1
    written = [line for file in tmp_path.glob("log/events.jsonl*") for line in file.read_text().splitlines()]
    assert events == len(written)
    assert calls == len(turns)
    assert order == turns
