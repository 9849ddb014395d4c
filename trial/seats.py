"""Warm places for replays: a sandbox and its gateway, kept by what they may run.

A seat serves one image, one arm and one split, so that nothing a candidate leaves behind, should it find a
way, meets the other arm or cases of another split.
"""

import os
import secrets
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import ImageRef, Limits, Runtime
from containers.shard import Shard
from containers.substrate import SubstrateManifest
from evidence.canonical import new_id
from trial.gateway import GatewayConfig, Meter, ReplayGateway
from trial.report import Arm, Split

LONGEST_FOLDER = 70
"""Bytes of a work folder that leave room for the socket paths below it; a longer one is replaced."""


@dataclass(frozen=True)
class SeatKey:
    """Who may share a sandbox."""

    digest: str
    tree: Path | None
    """A worktree that is shown in place of the image's tree."""
    arm: Arm
    split: Split
    coverage: bool = False


@dataclass(eq=False)
class Seat:
    """One sandbox with its gateway."""

    id: str
    key: SeatKey
    folder: Path
    gateway: ReplayGateway
    shard: Shard


class Seats:
    """Thread-safe. At most `limit` seats exist; the longest unused one makes room."""

    def __init__(
        self,
        runtime: Runtime,
        manifest: SubstrateManifest,
        workdir: Path,
        gateway_config: GatewayConfig | None,
        limits: Limits,
        limit: int,
    ) -> None:
        self._runtime, self._manifest = runtime, manifest
        short = len(os.fsencode(workdir)) <= LONGEST_FOLDER
        self._temporary = None if short else Path(tempfile.mkdtemp(prefix="trial-"))
        self._workdir = self._temporary or workdir
        self._config, self._limits, self._limit = gateway_config, limits, limit
        self.meter = Meter(gateway_config.caps, gateway_config.meter) if gateway_config else Meter()
        self._labels = {"arena": new_id()}
        self._lock = threading.Lock()
        self._idle: list[Seat] = []
        self._busy: set[Seat] = set()

    def take(self, key: SeatKey) -> Seat:
        """A warm seat, or a new one. Raises RuntimeBroken."""
        with self._lock:
            seat = next((one for one in reversed(self._idle) if one.key == key), None)
            if seat is not None:
                self._idle.remove(seat)
                self._busy.add(seat)
                return seat
            full = len(self._idle) + len(self._busy) >= self._limit
            oldest = self._idle.pop(0) if full and self._idle else None
        if oldest is not None:
            self._close(oldest)
        seat = self._open(key)
        with self._lock:
            self._busy.add(seat)
        return seat

    def give(self, seat: Seat) -> None:
        with self._lock:
            self._busy.discard(seat)
            self._idle.append(seat)

    def drop(self, seat: Seat) -> None:
        """For a seat whose sandbox can't be trusted any more."""
        with self._lock:
            self._busy.discard(seat)
        self._close(seat)

    def close(self) -> None:
        """Every sandbox of these seats is gone afterwards."""
        with self._lock:
            seats = [*self._idle, *self._busy]
            self._idle, self._busy = [], set()
        with ThreadPoolExecutor(max(1, len(seats))) as threads:  # each waits for its gateway's loop to end
            list(threads.map(self._close, seats))
        for instance in self._runtime.find(self._labels):
            self._runtime.kill(instance)
            self._runtime.remove(instance)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _open(self, key: SeatKey) -> Seat:
        ident = secrets.token_hex(5)
        folder = self._workdir / ident
        sockets = folder / "gateway"
        sockets.mkdir(parents=True)
        gateway = ReplayGateway(sockets / "gateway.sock", self._config, self.meter)
        try:
            shard = Shard(
                self._runtime,
                ImageRef(key.digest),
                self._manifest,
                name=f"trial-{ident}",
                labels=self._labels,
                workdir=folder,
                gateway_dir=sockets,
                limits=self._limits,
                tree=key.tree,
            )
        except BaseException:
            gateway.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Seat(ident, key, folder, gateway, shard)

    def _close(self, seat: Seat) -> None:
        try:
            seat.shard.close()
        finally:
            seat.gateway.close()
            shutil.rmtree(seat.folder, ignore_errors=True)
