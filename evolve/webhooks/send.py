"""One message, signed as the Standard Webhooks specification says, sent once."""

import base64
import hashlib
import hmac
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from httpcore2 import (
    ConnectError,
    ConnectionPool,
    NetworkBackend,
    NetworkError,
    NetworkStream,
    ProtocolError,
    SyncBackend,
    TimeoutException,
    UnsupportedProtocol,
)

from evolve.settings import WebhookSection
from evolve.webhooks.address import is_public

SECONDS = 10.0
GONE = 410


@dataclass(frozen=True)
class Answer:
    taken: bool
    why: str = ""
    """Why it was not."""
    gone: bool = False
    """The receiver wants no more of it."""


class PublicOnly(NetworkBackend):
    """Connects to public addresses alone, and to the very one that it looked at: a name that resolves to one
    place and then to another gains nothing."""

    def __init__(self) -> None:
        self._plain = SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> NetworkStream:
        """Raises ConnectError when the name does not resolve, or to anything that is not public."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectError(f"{host} does not resolve: {error.strerror or error}") from None
        addresses = [ip_address(str(info[4][0]).partition("%")[0]) for info in found]
        for address in addresses:
            if not is_public(address):
                raise ConnectError(f"{host} is {address}, which is not public; `allow_private` permits it")
        return self._plain.connect_tcp(str(addresses[0]), port, timeout, local_address)


def sign(secret: bytes, message: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = hmac.new(secret, b"%s.%d.%s" % (message.encode(), timestamp, body), hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def send(hook: WebhookSection, message: str, timestamp: int, body: bytes) -> Answer:
    """POST it; only an answer of 2xx takes it. Redirects are not followed, and nothing of the answer's body is read."""
    headers: dict[bytes | str, bytes | str] = {
        "content-type": "application/json",
        "user-agent": "evolve",
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(hook.key, message, timestamp, body),
    }
    waits = dict.fromkeys(("connect", "read", "write", "pool"), SECONDS)
    backend = SyncBackend() if hook.allow_private else PublicOnly()
    try:
        with (
            ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=backend) as pool,
            pool.stream(
                "POST", hook.url, headers=headers, content=body, extensions={"timeout": waits}
            ) as answer,
        ):
            status = answer.status
    except (
        NetworkError,
        ProtocolError,
        TimeoutException,
        UnsupportedProtocol,
        ssl.SSLError,
        OSError,
    ) as error:
        return Answer(False, f"{type(error).__name__}: {error}".rstrip(": "))
    return Answer(200 <= status < 300, f"it answered {status}", status == GONE)
