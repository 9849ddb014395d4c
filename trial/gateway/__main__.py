"""`python -m trial.gateway --config FILE`: one gateway process. Exit 0 after SIGTERM, 2 for a bad
configuration, 5 when the socket or the log can't be had or calls could not be written down."""

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from trial.gateway.app import Front
from trial.gateway.calllog import CallLog, LogBusy
from trial.gateway.config import ConfigError, GatewayConfig, load_config
from trial.gateway.meter import Meter
from trial.gateway.model import ModelSource
from trial.gateway.replay import ReplaySession, load_case
from trial.gateway.server import bind, uvicorn_server
from trial.gateway.session import LiveSession, Session
from trial.gateway.tools import ToolSource

GRACE = 10


class Process:
    """Everything of one gateway process. Raises ConfigError, LogBusy or OSError when it can't be had."""

    def __init__(self, config: GatewayConfig, lifeline: bool) -> None:
        self.lost = 0
        """Records that could not be written at the end."""
        meter = Meter(config.caps, config.meter)
        self._models = ModelSource(config.upstream, meter, config.max_body)
        self._tools = ToolSource(config.servers, meter, config.max_body)
        self._log = (
            CallLog(config.log, config.record_wait) if config.mode == "record" and config.log else None
        )
        if config.mode == "replay" and config.case is not None:
            self._session: Session = ReplaySession(load_case(config.case), self._models, self._tools)
        else:
            self._session = LiveSession(self._models, self._tools, self._log)
        self._warm, self._lifeline = config.mode != "replay", lifeline
        self._front = Front(lambda: self._session, config.max_body)
        self.app = self._front.app(self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        if self._lifeline:  # no sooner: before the server takes signals, the end of its input would be lost
            threading.Thread(target=_end_with_input, daemon=True).start()
        warming = asyncio.create_task(self._tools.warm()) if self._warm else None
        try:
            yield
        finally:
            await self._front.drain(GRACE)
            if warming is not None:
                warming.cancel()
            await self._tools.close()
            await self._models.close()
            if self._log is not None:
                self.lost = await self._log.close()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trial.gateway", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON or TOML, see docs/gateway.md")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input does")
    arguments = parser.parse_args(argv)
    try:
        config = load_config(arguments.config)
        process = Process(config, arguments.lifeline)
        config.socket.parent.mkdir(parents=True, exist_ok=True)
        sock = bind(config.socket)
    except ConfigError as error:
        return _say(str(error), 2)
    except (LogBusy, OSError) as error:
        return _say(str(error), 5)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the server hands it back after its orderly end
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        uvicorn_server(process.app, GRACE).run(sockets=[sock])
    finally:
        sock.close()
        config.socket.unlink(missing_ok=True)
    if process.lost:
        return _say(f"{process.lost} calls could not be written to {config.log}", 5)
    return 0


def _end_with_input() -> None:
    """Whoever holds the other end may be killed at any moment: its gateway must not outlive it."""
    while os.read(0, 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def _say(message: str, code: int) -> int:
    print(f"gateway: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
