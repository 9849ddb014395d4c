"""Bind loopback, say the address, serve until told to stop."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Mapping

import uvicorn

from evidence.store import Store
from evolve.errors import BadInput, Broken
from evolve.settings import Person, Settings
from evolve.web.app import create_app
from evolve.web.consent import Consent

DRAIN_SECONDS = 5


def serve(
    settings: Settings,
    store: Store,
    consent: Consent,
    say: Callable[[str], None],
    people: Callable[[], Mapping[str, Person]] | None = None,
) -> None:
    """Serve the page in the foreground until SIGINT or SIGTERM. Raises Broken when the port is taken."""
    with bind(settings.web.host, settings.web.port) as listener:
        port = int(listener.getsockname()[1])
        app = create_app(settings, store, consent, port=port, people=people)
        host = f"[{settings.web.host}]" if ":" in settings.web.host else settings.web.host
        say(f"the page is at http://{host}:{port}/")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            # A header that names another client or scheme is nobody's business here.
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on a loopback address. Raises Broken in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        address = listener.getsockname()[0]
        if not (address.startswith("127.") or address == "::1"):
            raise BadInput(f"the page listens on loopback only, not on {address}")
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Broken(
                f"port {port} is in use", hint="set web.port in evolve.toml, or stop what holds it"
            ) from None
        raise Broken(f"can't listen on {host}:{port}: {os.strerror(error.errno or 0)}") from None
    except BadInput:
        listener.close()
        raise
    return listener
