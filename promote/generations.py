"""State generations: one copy of the state directory, one writer.

`<root>/gen-K/data` is what the service writes; `<root>/gen-K/ctl` holds `.lock` and `.owner` and is shown
read-only inside, so that the service can't unlink them. The shim (PID 1) holds `flock(.lock)` for as long
as any process of its instance lives and refuses to start when `.owner` is not its epoch.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from evidence.ledger import sync_folder, write_durably

KEEP = 3
_ROOM = 1 << 16
"""Bytes that a service needs at the least to come up."""


class GenerationBroken(Exception):
    """A generation could not be copied or read (full disk, missing folder)."""


class Generations:
    """The folder of all generations."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, generation: int) -> Path:
        return self.root / f"gen-{generation}"

    def data(self, generation: int) -> Path:
        return self.path(generation) / "data"

    def ctl(self, generation: int) -> Path:
        return self.path(generation) / "ctl"

    def present(self) -> list[int]:
        if not self.root.is_dir():
            return []
        names = (path.name for path in self.root.iterdir())
        return sorted(int(name[4:]) for name in names if name.startswith("gen-") and name[4:].isdigit())

    def next(self) -> int:
        return max(self.present(), default=0) + 1

    def create(self, generation: int, source: Path | None) -> None:
        """The first generation: empty, or a copy of `source`. Done already: nothing happens."""
        if not self.path(generation).exists():
            self._make(generation, source)

    def clone(self, old: int, new: int, reach: Callable[[str], None]) -> None:
        """Copy the data of `old`; what an interrupted attempt left is removed first."""
        shutil.rmtree(self.path(new), ignore_errors=True)
        self._make(new, self.data(old), reach)

    def _make(
        self, generation: int, source: Path | None, reach: Callable[[str], None] = lambda _: None
    ) -> None:
        staging = self.root / f"gen-{generation}.t"
        self.root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        try:
            (staging / "ctl").mkdir(parents=True)
            (staging / "ctl" / ".lock").touch(mode=0o644)
            copy_state(source, staging / "data")
        except (GenerationBroken, OSError):
            shutil.rmtree(staging, ignore_errors=True)  # half a copy on a full disk is in everybody's way
            raise
        reach("copied")
        os.replace(staging, self.path(generation))
        sync_folder(self.root)
        reach("renamed")

    def own(self, generation: int, epoch: int) -> None:
        """Only the instance of this epoch may write from now on."""
        write_durably(self.ctl(generation) / ".owner", str(epoch).encode(), mode=0o644)

    def writable(self) -> None:
        """Raises OSError while the disk of the state takes nothing more."""
        trial = self.root / ".room"
        try:
            write_durably(trial, bytes(_ROOM))
        except OSError as error:
            raise OSError(error.errno, f"the disk of the state can't be written: {error.strerror}") from None
        finally:
            trial.unlink(missing_ok=True)

    def locked(self, generation: int) -> bool:
        """Whether any process still holds this generation."""
        try:
            descriptor = os.open(self.ctl(generation) / ".lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def collect(self, keep: set[int]) -> list[int]:
        """Remove old generations: all but `keep` and the newest KEEP. Returns what went."""
        present = self.present()
        going = [number for number in present[:-KEEP] if number not in keep]
        for number in going:
            shutil.rmtree(self.path(number), ignore_errors=True)
        return going


def copy_state(source: Path | None, target: Path) -> None:
    """A durable copy with owners, times and holes kept; shares blocks where the file system can."""
    if source is None:
        target.mkdir(mode=0o700)
        return
    _run("cp", "--archive", "--reflink=auto", "--", str(source), str(target))
    _run("sync", "--file-system", str(target))


def size_of(folder: Path) -> int:
    """Bytes on disk, links not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise GenerationBroken(f"{argv[0]}: {done.stderr.strip()[-300:]}")
