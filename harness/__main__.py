"""`python -m harness`: serve; `--migrate` and `--self-test` look after the state directory."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from harness.app import create_app
from harness.events import EventLog
from harness.memory import READS, SCHEMA, StateError, open_memory
from harness.settings import Settings, SettingsError, read_environment, read_policy
from workflows.codec import GraphError
from workflows.shipped import library

USAGE = "usage: AGENT_SOCKET=… STATE_DIR=… python -m harness [--migrate | --self-test]"


class Server(uvicorn.Server):
    """Ends with exit code 0 on SIGTERM; uvicorn alone raises the signal again after a clean shutdown."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(settings: Settings) -> int:
    """Until SIGTERM; then nothing new is accepted and what is in flight is finished."""
    policy = read_policy()
    memory = open_memory(settings.state_dir)
    events = EventLog(settings.state_dir / "events.jsonl")
    try:
        config = uvicorn.Config(
            create_app(settings, policy, memory, events),
            uds=settings.agent_socket,
            http="h11",
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        server = Server(config)
        asyncio.run(server.serve())
        return 0 if server.started else 1
    finally:
        events.close()
        memory.close()


def self_test(state_dir: Path) -> int:
    """0 when this tree can read its own files and the state directory as they are."""
    read_policy()
    library()
    memory = open_memory(state_dir)
    try:
        found = memory.check()
        print(json.dumps({"schema": memory.schema, "reads": READS, "writes": SCHEMA, "integrity": found}))
        return 0 if found == "ok" else 1
    finally:
        memory.close()


def main(arguments: list[str]) -> int:
    try:
        if arguments in (["--self-test"], ["--migrate"]):
            return self_test(Path(os.environ.get("STATE_DIR", "state")))
        if not arguments:
            return serve(read_environment(os.environ))
    except (SettingsError, StateError, GraphError) as error:
        print(f"harness: {error}", file=sys.stderr)
        return 1
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
