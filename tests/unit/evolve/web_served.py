"""The page and its API behind a real socket, for tests."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import uvicorn
from web_world import CHEAP, World

from evolve.passwords import StoredHashes
from evolve.web.app import create_app
from evolve.web.server import bind


@contextmanager
def served(world: World, desk: Mapping[str, object] | None = None, **options: Any) -> Iterator[str]:
    """Its address. With what `create_app` is given, and with parts of its `desk` replaced."""
    people = options.get("people") or (lambda: world.settings.consent.people)
    options = {"knows": StoredHashes(people, CHEAP), **options}
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        app = create_app(world.settings, world.store, world.book.consent, port=port, **options)
        app.state.desk = replace(app.state.desk, **(desk or {}))
        with answering(app, listener):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def answering(app: Any, listener: Any) -> Iterator[None]:
    """Any ASGI application, on a socket that listens already."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
