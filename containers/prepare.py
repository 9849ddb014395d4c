"""What the host prepares before a start: owned mounts, a made /etc, the generation's lock."""

import contextlib
import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from containers.runtime import InstanceSpec, Mount, RuntimeBroken

CONTROL = "/ctl"
_FIRST_UID, _UIDS = 1 << 30, 1 << 29
_UTC = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 0, 0, 0) + b"UTC\0"


def make_etc(private: Path, uid: int) -> Path:
    """The whole /etc of an instance: who it is, that it knows no host but itself, UTC."""
    etc = private / "etc"
    etc.mkdir(mode=0o755)
    made = {
        "passwd": f"agent:x:{uid}:{uid}:agent:/tmp:/bin/sh\n",
        "group": f"agent:x:{uid}:\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    for name, text in made.items():
        (etc / name).write_text(text)
    (etc / "localtime").write_bytes(_UTC)
    return etc


@contextlib.contextmanager
def generation_lock(spec: InstanceSpec) -> Iterator[int | None]:
    """For `@serve`: the lock of its generation, taken before one of its files is touched; None: it has a
    writer.

    PID 1 inherits the open file, so there is no moment between the check and the start at which nobody holds
    it.
    """
    control = next((mount.source for mount in spec.mounts if mount.target == CONTROL), None)
    if spec.argv[0] != "@serve" or control is None:
        yield None
        return
    try:
        lock = os.open(control / ".lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise RuntimeBroken(f"{spec.name}: {control / '.lock'}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield lock
    finally:
        os.close(lock)


def mounts(spec: InstanceSpec, uid: int | None, *, own: bool) -> tuple[Mount, ...]:
    """The spec's mounts with real sources. `uid` (started as root): writable ones are given to it if `own`,
    and read-only folders are made readable for others; their parents on the host stay as closed as they
    were."""
    return tuple(_prepared(mount, uid, own) for mount in spec.mounts)


def _prepared(mount: Mount, uid: int | None, own: bool) -> Mount:
    try:
        source = mount.source.resolve(strict=True)
    except OSError as error:
        raise RuntimeBroken(f"cannot mount {mount.source}: {error.strerror}") from None
    if uid is not None and mount.writable and own:
        own_tree(source, uid)
    elif uid is not None and not mount.writable and source.is_dir():
        source.chmod(source.stat().st_mode | 0o005)
    return replace(mount, source=source)


def choose_uid(spec: InstanceSpec, used: set[int]) -> int:
    """A number of its own for an instance; the one that already owns its state if nobody runs under it, which saves
    giving away every file of a large state directory at each start."""
    for mount in spec.mounts:
        if mount.writable and mount.source.exists():
            owner = mount.source.stat().st_uid
            if _FIRST_UID <= owner < _FIRST_UID + _UIDS and owner not in used:
                return owner
    while (uid := _FIRST_UID + secrets.randbelow(_UIDS)) in used:
        continue
    return uid


def own_tree(top: Path, uid: int) -> None:
    """Give a whole tree to `uid`, following no link."""
    for _, folders, names, here in os.fwalk(top):
        if os.fstat(here).st_uid != uid:
            os.fchown(here, uid, uid)
        for name in [*folders, *names]:
            if os.stat(name, dir_fd=here, follow_symlinks=False).st_uid != uid:
                os.chown(name, uid, uid, dir_fd=here, follow_symlinks=False)
    if not top.is_dir():
        os.chown(top, uid, uid, follow_symlinks=False)
