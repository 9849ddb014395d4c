"""Standard streams of a container, held by the process that started it: when that dies, the engine closes standard
input, and PID 1 inside ends everything."""

import contextlib
import io
import os
import socket
import struct
import threading
from pathlib import Path
from typing import IO, Any

from containers.orders import LOG_BYTES

_HEADER = struct.Struct(">BxxxL")
_STDOUT, _STDERR = 1, 2
_CHUNK = 65536
_SORTER_SECONDS = 5.0


class Attached:
    """`stdin` and `stdout` as of any other process when interactive; else standard input is held open and no more."""

    def __init__(self, answer: Any, log: Path | None) -> None:
        """`answer`: what `APIClient.attach_socket` returned. `log` (interactive): where standard error goes; the first
        bytes up to a limit are kept."""
        self._answer = answer
        self._stream: socket.socket = answer._sock
        self._stream.settimeout(None)
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self._sorter: threading.Thread | None = None
        if log is not None:
            reader, writer = os.pipe()
            self.stdin = _Input(self._stream)
            self.stdout = os.fdopen(reader, "rb", buffering=0)
            self._sorter = threading.Thread(target=_sort, args=(self._stream, writer, log), daemon=True)
            self._sorter.start()

    def close(self) -> None:
        """Standard input ends inside; what was not read yet is lost."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        for part in (self.stdin, self.stdout, self._answer._response, self._answer, self._stream):
            if part is not None:
                part.close()
        if self._sorter is not None:
            self._sorter.join(_SORTER_SECONDS)


class _Input(io.RawIOBase, IO[bytes]):
    """Writes to the connection; closing it ends standard input inside and lets what comes out go on."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._stream.send(data)

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_WR)
        super().close()


def _sort(stream: socket.socket, stdout: int, log: Path) -> None:
    """Frames of the engine's attach protocol: kind, length, bytes."""
    left = LOG_BYTES
    try:
        with log.open("ab", buffering=0) as errors:
            while (header := _exactly(stream, _HEADER.size)) is not None:
                kind, length = _HEADER.unpack(header)
                while length > 0 and (chunk := stream.recv(min(length, _CHUNK))):
                    length -= len(chunk)
                    if kind == _STDERR and left > 0:
                        errors.write(chunk[:left])
                        left -= len(chunk)
                    elif kind == _STDOUT:
                        _write(stdout, chunk)
    except OSError:
        pass  # the container or our own reader is gone: the pipe's end says so
    finally:
        os.close(stdout)


def _exactly(stream: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        chunk = stream.recv(size - len(data))
        if not chunk:
            return None
        data += chunk
    return data


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
