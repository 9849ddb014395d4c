"""The way to the live instance's socket, for the embedded edge."""

import asyncio
import socket
from pathlib import Path

from promote.wire import address

_AGAIN = 0.005
Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Door:
    """One connection after the other, in the order in which they are wanted. More wait after a swap than a service may let
    stand at its socket, and the kernel then turns them away: that is no failure, it goes on when there is room."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def connect(self, path: Path, seconds: float) -> Link:
        """Raises OSError when nobody listens there, or when there was no room for so long."""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(seconds), self._turn:
                while True:
                    try:
                        with address(path) as name:
                            link.connect(name)
                        break
                    except BlockingIOError:
                        await asyncio.sleep(_AGAIN)
            return await asyncio.open_unix_connection(sock=link)
        except BaseException:
            link.close()
            raise
