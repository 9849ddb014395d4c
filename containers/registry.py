"""Which instances exist, as files under `run/instances`: any process of this home can find, stop and adopt
them.

`<name>.json` is the record, written before the sandbox may run its first instruction; `<name>.d/` holds its
log, its made `/etc` and bwrap's own status file. A record is only a claim: what counts is whether that
process still lives.
"""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from containers.host import write_atomically
from containers.processes import Identity
from containers.runtime import RuntimeBroken
from containers.shim.files import wipe

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,100}")


@dataclass(frozen=True)
class Record:
    name: str
    digest: str
    role: str
    labels: dict[str, str]
    init: Identity
    """The sandbox's PID 1, as the host sees it."""
    monitor: Identity
    """The bwrap process that waits for it."""
    owner: Identity
    """The process that started it."""
    survives_caller: bool
    uid: int
    cgroups: tuple[str, ...]


class Registry:
    def __init__(self, home: Path) -> None:
        self.folder = home / "run" / "instances"

    def prepare(self, name: str) -> Path:
        """The empty private folder of an instance that is about to start."""
        private = self.private(name)
        self._wipe(private)
        private.mkdir(parents=True, mode=0o711)
        return private

    def private(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise RuntimeBroken(f"{name!r} is no instance name: lower-case letters, digits, dots, dashes")
        return self.folder / f"{name}.d"

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One starter, stopper or remover at a time, also across processes. The lock's file goes with the instance."""
        private, path = self.private(name), self.folder / f".{name}.lock"
        self.folder.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            try:
                yield
            finally:
                if self.read(name) is None and not private.exists():
                    path.unlink(missing_ok=True)

    def write(self, record: Record) -> None:
        write_atomically(self.folder / f"{record.name}.json", json.dumps(asdict(record)).encode())

    def read(self, name: str) -> Record | None:
        try:
            fields = json.loads((self.folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        for key in ("init", "monitor", "owner"):
            fields[key] = Identity(**fields[key])
        fields["cgroups"] = tuple(fields["cgroups"])
        return Record(**fields)

    def all(self) -> list[Record]:
        if not self.folder.is_dir():
            return []
        names = sorted(path.stem for path in self.folder.glob("*.json"))
        return [record for name in names if (record := self.read(name)) is not None]

    def begun(self) -> list[str]:
        """Names of whatever has a folder or a lock, with a record or without."""
        names = {path.stem for path in self.folder.glob("*.d")}
        return sorted(names | {path.stem[1:] for path in self.folder.glob(".*.lock")})

    def matching(self, labels: Mapping[str, str]) -> list[Record]:
        return [record for record in self.all() if labels.items() <= record.labels.items()]

    def forget(self, name: str) -> None:
        self._wipe(self.private(name))
        with contextlib.suppress(FileNotFoundError):
            (self.folder / f"{name}.json").unlink()

    @staticmethod
    def _wipe(private: Path) -> None:
        if private.is_dir():
            wipe(str(private))
            os.rmdir(private)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a file that its last holder may have removed while we waited for it: then it is another file's turn."""
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                yield
                return


def bwrap_status(private: Path) -> dict[str, int]:
    """What bwrap itself wrote: `child-pid` once started, `exit-code` once everything inside is gone."""
    found: dict[str, int] = {}
    try:
        text = (private / "status").read_text()
    except FileNotFoundError:
        return found
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found.update(json.loads(line))
    return found
