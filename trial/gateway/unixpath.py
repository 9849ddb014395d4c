"""Unix socket paths hold 107 bytes, folders may be deeper: an open folder is a short name for a long one."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

_LIMIT = 107


def connect(sock: socket.socket, path: Path) -> None:
    """`sock.connect`, however long the path. Raises OSError."""
    _through_folder(sock.connect, path)


def bind(sock: socket.socket, path: Path) -> None:
    """`sock.bind`, however long the path. Raises OSError."""
    _through_folder(sock.bind, path)


def _through_folder(act: Callable[[str], None], path: Path) -> None:
    if len(os.fsencode(path)) <= _LIMIT:
        act(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        act(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
