"""The hash-chained, append-only record that everything else may be checked against.

One library, two files: the product's ledger and the promoter's own. A row's hash covers its content and the
hash of the row before, so an edited, dropped or reordered row is found by reading. A bare chain can't see
that its *tail* is missing: signed checkpoints (size and head), kept in another folder, can.

Pointers ("what is live") and single-use keys ("this nonce is spent") change only inside a transaction that
also appends the row saying so; `verify` folds those rows again and compares.

Errors
  LedgerBroken   the file can't be opened, read or written (full disk, read-only, not a ledger)
  AlreadyUsed    a single-use key was used before
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from evidence.canonical import canonical_json, digest, utcnow
from evidence.wal import use_wal

GENESIS = "sha256:" + "0" * 64
POINTER_SET = "ledger.pointer"
KEY_USED = "ledger.used"

_COLUMNS = "seq, ts, kind, who, reason, data, prev_hash, hash"
_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, ts TEXT NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
    data TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pointers (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS used (scope TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (scope, key));
"""


class LedgerBroken(Exception):
    """The ledger's file can't be opened, read or written."""


class AlreadyUsed(Exception):
    """This single-use key was used before."""


@dataclass(frozen=True)
class Entry:
    seq: int
    ts: str
    kind: str
    who: str
    reason: str
    data: Mapping[str, object]
    prev_hash: str
    hash: str


@dataclass(frozen=True)
class Verification:
    """`ok` only when nothing is wrong; `notes` say what could not be checked."""

    ok: bool
    entries: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())


class Checkpoint(BaseModel):
    """What the ledger looked like, signed, kept apart from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: int = 1
    size: int
    head: str
    ts: str
    signature: str = ""

    @property
    def signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


class Transaction:
    """Rows, pointers and single-use keys that become true together or not at all."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def append(self, kind: str, data: Mapping[str, object], who: str = "", reason: str = "") -> Entry:
        last = self._db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        seq, prev_hash = (last[0] + 1, last[1]) if last else (1, GENESIS)
        text = canonical_json(dict(data)).decode()
        ts = utcnow().isoformat(timespec="microseconds")
        row = {"seq": seq, "ts": ts, "kind": kind, "who": who, "reason": reason, "prev_hash": prev_hash}
        content = json.loads(text)
        hash_ = digest({**row, "data": content})
        self._db.execute(
            f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (seq, ts, kind, who, reason, text, prev_hash, hash_),
        )
        return Entry(seq, ts, kind, who, reason, content, prev_hash, hash_)

    def set_pointer(self, name: str, value: Mapping[str, object] | None) -> None:
        """None removes it."""
        stored = None if value is None else dict(value)
        self.append(POINTER_SET, {"name": name, "value": stored})
        self._db.execute("DELETE FROM pointers WHERE name = ?", (name,))
        if stored is not None:
            self._db.execute("INSERT INTO pointers VALUES (?, ?)", (name, canonical_json(stored).decode()))

    def pointer(self, name: str) -> dict[str, object] | None:
        return _pointer(self._db, name)

    def use_once(self, scope: str, key: str) -> None:
        """Raises AlreadyUsed; the caller's transaction then rolls back."""
        try:
            self._db.execute("INSERT INTO used VALUES (?, ?)", (scope, key))
        except sqlite3.IntegrityError:
            raise AlreadyUsed(f"{scope} {key} was used before") from None
        self.append(KEY_USED, {"scope": scope, "key": key})


class Ledger:
    """One open ledger file; safe to share between threads and, through SQLite's lock, between processes."""

    def __init__(self, path: Path, *, create: bool = True, timeout: float = 10.0) -> None:
        self.path = path
        self._lock = threading.RLock()
        if not create and not path.exists():
            raise LedgerBroken(f"{path}: not found")
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise LedgerBroken(f"{path}: {error}") from None
        try:
            use_wal(self._db, timeout)
            self._db.execute("PRAGMA synchronous=FULL")
            if create:
                self._db.executescript(_TABLES)
        except sqlite3.Error as error:
            self._db.close()
            raise LedgerBroken(f"{path}: {error}") from None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """BEGIN IMMEDIATE … COMMIT; any exception rolls back and goes on to the caller."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield Transaction(self._db)
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise LedgerBroken(f"{self.path}: {error}") from error

    def append(self, kind: str, data: Mapping[str, object], who: str = "", reason: str = "") -> Entry:
        with self.transaction() as txn:
            return txn.append(kind, data, who, reason)

    def entries(self, after: int = 0, limit: int | None = None) -> list[Entry]:
        """Rows with `seq` > `after`, in order."""
        query = f"SELECT {_COLUMNS} FROM entries WHERE seq > ? ORDER BY seq LIMIT ?"
        with self._reading() as db:
            rows = db.execute(query, (after, -1 if limit is None else limit)).fetchall()
        return [
            Entry(seq, ts, kind, who, reason, json.loads(text), prev_hash, hash_)
            for seq, ts, kind, who, reason, text, prev_hash, hash_ in rows
        ]

    def head(self) -> tuple[int, str]:
        """Number of rows and the last row's hash."""
        with self._reading() as db:
            row = db.execute("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else (0, GENESIS)

    def pointer(self, name: str) -> dict[str, object] | None:
        with self._reading() as db:
            return _pointer(db, name)

    def used(self, scope: str, key: str) -> bool:
        with self._reading() as db:
            found = db.execute("SELECT 1 FROM used WHERE scope = ? AND key = ?", (scope, key)).fetchone()
        return found is not None

    def checkpoint(self, folder: Path, key: Ed25519PrivateKey) -> Checkpoint:
        """Sign what the ledger is now and write it durably to `folder`, which should lie elsewhere."""
        size, head = self.head()
        bare = Checkpoint(size=size, head=head, ts=utcnow().isoformat(timespec="microseconds"))
        signed = bare.model_copy(update={"signature": key.sign(bare.signed_bytes).hex()})
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / f"{size:012d}.json", canonical_json(signed))
        return signed

    def verify(self, checkpoints: Path | None = None, key: Ed25519PublicKey | None = None) -> Verification:
        """Read it all again: chain, order, pointers, single-use keys, checkpoints, as they are at one moment, whoever writes
        meanwhile. A bad file is an answer, never an exception."""
        marks = _checkpoints_in(checkpoints)
        try:
            with self._snapshot() as db:
                rows, problems = _check_chain(db)
                problems += _check_folds(db)
        except (LedgerBroken, ValueError) as error:
            return Verification(False, 0, (f"unreadable: {error}",))
        found, notes = _check_checkpoints([row[1] for row in rows], marks, key)
        problems += found
        return Verification(not problems, len(rows), tuple(problems), tuple(notes))

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise LedgerBroken(f"{self.path}: {error}") from error


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` as a whole: after a crash it holds the old bytes or the new ones, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    # The folder may be another user's, who could have planted a link where the next temporary file will be.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames, creations and removals in this folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pointer(db: sqlite3.Connection, name: str) -> dict[str, object] | None:
    row = db.execute("SELECT value FROM pointers WHERE name = ?", (name,)).fetchone()
    return None if row is None else dict(json.loads(row[0]))


def _check_chain(db: sqlite3.Connection) -> tuple[list[tuple[int, str]], list[str]]:
    problems = [f"database: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
    rows: list[tuple[int, str]] = []
    previous, expected = GENESIS, 1
    query = f"SELECT {_COLUMNS} FROM entries ORDER BY seq"
    for seq, ts, kind, who, reason, text, prev_hash, hash_ in db.execute(query):
        content = json.loads(text)
        row = {"seq": seq, "ts": ts, "kind": kind, "who": who, "reason": reason, "prev_hash": prev_hash}
        if seq != expected:
            problems.append(f"entry {expected}: missing (next is {seq})")
        if prev_hash != previous:
            problems.append(f"entry {seq}: does not follow the entry before it")
        if digest({**row, "data": content}) != hash_ or canonical_json(content).decode() != text:
            problems.append(f"entry {seq}: content does not match its hash")
        rows.append((seq, hash_))
        previous, expected = hash_, seq + 1
    return rows, problems


def _check_folds(db: sqlite3.Connection) -> list[str]:
    """Pointers and single-use keys must be what the rows say."""
    pointers: dict[str, object] = {}
    used: set[tuple[str, str]] = set()
    query = "SELECT kind, data FROM entries WHERE kind IN (?, ?) ORDER BY seq"
    for kind, text in db.execute(query, (POINTER_SET, KEY_USED)):
        data = json.loads(text)
        if kind == KEY_USED:
            used.add((data["scope"], data["key"]))
        elif data["value"] is None:
            pointers.pop(data["name"], None)
        else:
            pointers[data["name"]] = data["value"]
    stored = {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM pointers")}
    problems = []
    if stored != pointers:
        problems.append("pointers: not what the entries say")
    if used != set(db.execute("SELECT scope, key FROM used")):
        problems.append("single-use keys: not what the entries say")
    return problems


def _checkpoints_in(folder: Path | None) -> list[tuple[str, bytes]]:
    """Name and content. Read before the rows: one that is signed meanwhile covers rows that are not looked at."""
    paths = sorted(folder.glob("*.json")) if folder is not None and folder.is_dir() else []
    return [(path.name, _content(path)) for path in paths]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _check_checkpoints(
    hashes: list[str], marks: list[tuple[str, bytes]], key: Ed25519PublicKey | None
) -> tuple[list[str], list[str]]:
    if not marks:
        return [], ["no checkpoints: a missing tail can't be ruled out"]
    if key is None:
        return [], ["no key: checkpoints were not checked"]
    problems = []
    for name, content in marks:
        try:
            mark = Checkpoint.model_validate_json(content)
            key.verify(bytes.fromhex(mark.signature), mark.signed_bytes)
        except (ValidationError, ValueError, InvalidSignature):
            problems.append(f"checkpoint {name}: not signed by this ledger's key")
            continue
        if mark.size > len(hashes):
            problems.append(
                f"checkpoint {name}: {mark.size} entries then, {len(hashes)} now: the tail is missing"
            )
        elif mark.size and hashes[mark.size - 1] != mark.head:
            problems.append(f"checkpoint {name}: entry {mark.size} is not the one that was signed")
    return problems, []
