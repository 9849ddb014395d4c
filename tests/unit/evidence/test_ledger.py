"""The ledger: what it promises about order, atomicity and tampering."""

import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.ledger import GENESIS, AlreadyUsed, Ledger, LedgerBroken, write_durably


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def filled(path: Path, rows: int = 6) -> None:
    with Ledger(path) as ledger:
        for number in range(rows):
            ledger.append("fact", {"number": number, "text": "größer"}, who="anna", reason="test")


def test_rows_chain_from_the_genesis_hash(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db") as ledger:
        first = ledger.append("a", {"x": 1}, who="anna", reason="why")
        second = ledger.append("b", {})
        assert (first.seq, first.prev_hash, second.seq, second.prev_hash) == (1, GENESIS, 2, first.hash)
        assert ledger.entries() == [first, second]
        assert ledger.entries(after=1) == [second]
        assert ledger.entries(limit=1) == [first]
        assert ledger.verify().ok


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db") as ledger:
        with suppress(ZeroDivisionError), ledger.transaction() as txn:
            txn.append("a", {})
            txn.set_pointer("lkg", {"image": "new"})
            txn.use_once("nonce", "n1")
            raise ZeroDivisionError
        assert ledger.entries() == []
        assert ledger.pointer("lkg") is None
        assert not ledger.used("nonce", "n1")


def test_pointers_move_with_their_row_and_can_be_cleared(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db") as ledger:
        with ledger.transaction() as txn:
            txn.append("swap", {})
            txn.set_pointer("open", {"swap": "s1"})
        assert ledger.pointer("open") == {"swap": "s1"}
        with ledger.transaction() as txn:
            txn.set_pointer("open", None)
        assert ledger.pointer("open") is None
        assert ledger.verify().ok


def test_a_single_use_key_is_refused_the_second_time_also_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    with Ledger(path) as ledger, ledger.transaction() as txn:
        txn.use_once("nonce", "n1")
    with Ledger(path) as ledger, pytest.raises(AlreadyUsed), ledger.transaction() as txn:
        txn.use_once("nonce", "n1")


def edit_byte(db: sqlite3.Connection) -> None:
    db.execute("UPDATE entries SET data = replace(data, '\"number\":2', '\"number\":3') WHERE seq = 3")


def drop_entry(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM entries WHERE seq = 3")


def reorder(db: sqlite3.Connection) -> None:
    db.execute("UPDATE entries SET seq = 99 WHERE seq = 3")
    db.execute("UPDATE entries SET seq = 3 WHERE seq = 4")
    db.execute("UPDATE entries SET seq = 4 WHERE seq = 99")


def truncate(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM entries WHERE seq > 4")


@pytest.mark.parametrize("tamper", [edit_byte, drop_entry, reorder, truncate])
def test_every_kind_of_tampering_is_found(
    tmp_path: Path, key: Ed25519PrivateKey, tamper: Callable[[sqlite3.Connection], None]
) -> None:
    path, marks = tmp_path / "l.db", tmp_path / "marks"
    filled(path)
    with Ledger(path) as ledger:
        ledger.checkpoint(marks, key)
        assert ledger.verify(marks, key.public_key()).ok
    db = sqlite3.connect(path)
    with db:
        tamper(db)
    db.close()
    with Ledger(path) as ledger:
        assert not ledger.verify(marks, key.public_key()).ok


@pytest.mark.parametrize("column", ["ts", "kind", "who", "reason", "data", "prev_hash", "hash"])
def test_every_field_of_an_entry_is_covered_by_its_hash(tmp_path: Path, column: str) -> None:
    path = tmp_path / "l.db"
    filled(path)
    db = sqlite3.connect(path)
    with db:
        other = '{"other":1}' if column == "data" else "other"
        db.execute(f"UPDATE entries SET {column} = ? WHERE seq = 3", (other,))
    db.close()
    with Ledger(path) as ledger:
        assert any(problem.startswith("entry 3") for problem in ledger.verify().problems)


def test_truncate_and_append_is_found_by_the_checkpoint_only(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    path, marks = tmp_path / "l.db", tmp_path / "marks"
    filled(path)
    with Ledger(path) as ledger:
        ledger.checkpoint(marks, key)
    db = sqlite3.connect(path)
    with db:
        truncate(db)
    db.close()
    with Ledger(path) as ledger:
        for _ in range(3):
            ledger.append("fact", {"forged": True})
        assert ledger.verify().ok
        assert not ledger.verify(marks, key.public_key()).ok


def test_a_forged_checkpoint_is_a_problem(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    path, marks = tmp_path / "l.db", tmp_path / "marks"
    filled(path)
    with Ledger(path) as ledger:
        ledger.checkpoint(marks, Ed25519PrivateKey.generate())
        found = ledger.verify(marks, key.public_key())
    assert not found.ok
    assert "not signed" in found.problems[0]


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE pointers SET value = \'{"image":"evil"}\'',
        "DELETE FROM used",
        "INSERT INTO pointers VALUES ('open', '{}')",
    ],
)
def test_tables_beside_the_chain_must_agree_with_it(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "l.db"
    with Ledger(path) as ledger, ledger.transaction() as txn:
        txn.set_pointer("lkg", {"image": "good"})
        txn.use_once("nonce", "n1")
    db = sqlite3.connect(path)
    with db:
        db.execute(statement)
    db.close()
    with Ledger(path) as ledger:
        assert not ledger.verify().ok


def test_a_flipped_byte_in_the_file_is_found_wherever_a_row_lies(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    filled(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"anna") + 1] ^= 1
    path.write_bytes(raw)
    with Ledger(path) as ledger:
        assert not ledger.verify().ok


def test_a_file_that_is_no_ledger_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    path.write_bytes(b"not a database, but long enough to look like something" * 40)
    with pytest.raises(LedgerBroken, match=r"l\.db"):
        Ledger(path)
    with pytest.raises(LedgerBroken, match="not found"):
        Ledger(tmp_path / "none.db", create=False)


def _append_many(path: Path) -> None:
    with Ledger(path) as ledger:
        for number in range(20):
            ledger.append("fact", {"number": number})


def test_processes_that_append_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    Ledger(path).close()
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with Ledger(path) as ledger:
        found = ledger.verify()
        assert (found.ok, found.entries) == (True, 60)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(max_size=6), json_values, max_size=3), min_size=1, max_size=4))
def test_whatever_json_is_appended_verifies_and_reads_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    with Ledger(tmp_path_factory.mktemp("ledger") / "l.db") as ledger:
        for row in rows:
            ledger.append("fact", row)
        assert [entry.data for entry in ledger.entries()] == rows
        assert ledger.verify().ok


def test_a_ledger_that_somebody_writes_meanwhile_is_not_called_damaged(
    tmp_path: Path, key: Ed25519PrivateKey
) -> None:
    path, checkpoints, over = tmp_path / "l.db", tmp_path / "checkpoints", threading.Event()
    with Ledger(path) as ledger, ledger.transaction() as txn:
        for number in range(1000):  # enough to read for somebody to write meanwhile
            txn.set_pointer("open", {"number": number})

    def write() -> None:
        with Ledger(path) as ledger:
            number = 0
            while not over.is_set():
                number += 1
                with ledger.transaction() as txn:
                    txn.set_pointer("open", {"number": number})
                    txn.use_once("nonce", str(number))
                ledger.checkpoint(checkpoints, key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Ledger(path) as ledger:
            for _ in range(12):
                assert ledger.verify(checkpoints, key.public_key()).problems == ()
    finally:
        over.set()
        writer.join()


def test_a_durable_write_follows_no_planted_link(tmp_path: Path) -> None:
    """The folder may be another user's: what lies in the temporary file's place must not lead elsewhere."""
    secret = tmp_path / "ledger.db"
    secret.write_text("untouched")
    (tmp_path / f".state.json.{os.getpid()}.{threading.get_ident()}.tmp").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        write_durably(tmp_path / "state.json", b"{}")
    assert secret.read_text() == "untouched"
