"""`@serve`: one writer for a state generation, a heartbeat, and an orderly drain."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time

from . import child
from .boot import EXIT_LOCKED, EXIT_WRONG_EPOCH, die
from .keeper import Keeper

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from typing import Any

BEAT_SECONDS = 0.25
HEARTBEAT = "/run/agent/heartbeat.json"


def open_lock() -> int:
    """The generation's lock, where the engine can't hand it over."""
    try:
        return os.open("/ctl/.lock", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        die(f"cannot open the generation's lock: {error}", EXIT_WRONG_EPOCH)


def claim_generation(epoch: str, lock: int | None) -> None:
    """Be the generation's one writer, or exit 97/98. PID 1 alone holds `lock` from here on, until it ends. None: somebody
    else has it."""
    try:
        with open("/ctl/.owner", encoding="ascii") as owner:
            text = owner.read(64).strip()
        if not text.isdecimal() or text != epoch:
            die(f"this generation belongs to epoch {text!r}, not to {epoch!r}", EXIT_WRONG_EPOCH)
    except OSError as error:
        die(f"cannot read the generation's control folder: {error}", EXIT_WRONG_EPOCH)
    try:
        if lock is None:
            raise BlockingIOError
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        die("this generation already has a writer", EXIT_LOCKED)


def serve(keeper: Keeper, config: dict[str, Any], env: dict[str, str]) -> int:
    """Run the service until it ends; returns its exit code."""
    reader, writer = os.pipe()
    keeper.watch_output(reader)
    keeper.start_leader(
        child.spawn(
            config["command"],
            env,
            config["workdir"],
            config["limits"],
            output=writer,
            errors=writer,
            in_process=True,
        )
    )
    pid = keeper.leader
    os.close(writer)
    drain = signal.Signals[config["drain_signal"]]
    next_beat = 0.0
    while keeper.leader is not None:
        now = time.monotonic()
        if now >= next_beat:
            beat(env, pid)
            next_beat = now + BEAT_SECONDS
        keeper.pump(max(0.0, next_beat - now))
        if keeper.terminated:
            keeper.terminated = False
            if keeper.leader is not None:
                os.kill(keeper.leader, drain)
    beat(env, None)
    return keeper.leader_exit if keeper.leader_exit is not None else 1


def beat(env: dict[str, str], pid: int | None) -> None:
    """Say who runs here. The launcher beats too: a case must not see by a missing file that it is one."""
    beat = {
        "epoch": int(env.get("INSTANCE_EPOCH") or 0),
        "digest": env.get("IMAGE_DIGEST", ""),
        "boot_nonce": env.get("BOOT_NONCE", ""),
        "pid": pid,
        "ts": time.time(),
        "child_alive": pid is not None,
    }
    try:
        fresh = os.open(
            HEARTBEAT + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644
        )
        try:
            os.write(fresh, json.dumps(beat).encode())
        finally:
            os.close(fresh)
        os.replace(HEARTBEAT + ".new", HEARTBEAT)
    except OSError:
        pass  # the folder is the service's to break: it is then seen as dead, PID 1 goes on
