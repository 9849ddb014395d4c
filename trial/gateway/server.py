"""Serving a front on a unix socket: as a process (`serve`) or in a thread of the caller's (`Background`)."""

import contextlib
import os
import socket
import threading
import types
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from trial.gateway import unixpath


def bind(path: Path) -> socket.socket:
    """Listen on `path`, replacing what a dead gateway left there. Whoever may enter the folder may
    connect."""
    if _answers(path):
        raise OSError(f"{path}: another gateway listens here")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        unixpath.bind(sock, path)
        os.chmod(path, 0o666)
        sock.listen(256)
    except OSError:
        sock.close()
        raise
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            unixpath.connect(probe, path)
        except OSError:
            return False
        return True


def uvicorn_server(app: Starlette, grace: int, log_level: str | None = None) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level=log_level,
            access_log=False,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="on",
            server_header=False,
            timeout_keep_alive=600,
            timeout_graceful_shutdown=grace,
        )
    )


class Background:
    """A front served by a thread. Connections wait in the kernel from the moment this is made."""

    def __init__(self, app: Starlette, path: Path) -> None:
        self.path = path
        self._socket = bind(path)
        # A call that is cut off when its case ends is nothing to tell an operator of.
        self._server = uvicorn_server(app, grace=1, log_level="critical")
        self._thread = threading.Thread(target=self._run, name=f"gateway {path}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def __enter__(self) -> "Background":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])
