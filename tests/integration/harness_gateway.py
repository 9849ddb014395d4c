"""The real gateway in front of real MCP servers and a scripted model."""

import json
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness_gateway_double import Handler, Script
from harness_service import ROOT, accepts_connections

BIN = Path(sys.executable).parent


class Upstream(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    script: Script


@contextmanager
def upstream(script: Script) -> Iterator[str]:
    server = Upstream(("127.0.0.1", 0), Handler)
    server.script = script
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def real_gateway(folder: Path, base_url: str, **servers: Sequence[str]) -> Iterator[Path]:
    """Over real MCP servers: those for time and git, and what else is named with its command."""
    path = folder / "gateway.sock"
    config = {
        "socket": str(path),
        "log": str(folder / "calls.jsonl"),
        "upstream": {"base_url": base_url},
        "servers": {
            "time": {"command": [str(BIN / "mcp-server-time"), "--local-timezone", "UTC"]},
            "git": {"command": [str(BIN / "mcp-server-git")]},
            **{name: {"command": list(command)} for name, command in servers.items()},
        },
    }
    (folder / "gateway.json").write_text(json.dumps(config))
    process = subprocess.Popen(
        [sys.executable, "-m", "trial.gateway", "--config", str(folder / "gateway.json")], cwd=ROOT
    )
    try:
        deadline = time.monotonic() + 60
        while not accepts_connections(path):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield path
    finally:
        process.terminate()
        assert process.wait(20) == 0
