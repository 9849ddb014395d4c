"""Where the real MCP servers lie: `make mcp-servers` puts them into a cache, and two are among the tests' dependencies."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

SERVERS = {
    "everything": "node_modules/.bin/mcp-server-everything",
    "filesystem": "node_modules/.bin/mcp-server-filesystem",
    "memory": "node_modules/.bin/mcp-server-memory",
    "sqlite": "bin/mcp-server-sqlite",
}
"""Name -> its program in its folder of the cache."""
OWN = ("git", "time")


class NotInstalled(Exception):
    """A server is missing; the message says which and how to get it."""


def environment(world: Path) -> Mapping[str, str]:
    """The variables of `servers.json`. Raises NotInstalled."""
    found = {f"MCP_{name.upper()}": _cached(name, program) for name, program in SERVERS.items()}
    found |= {f"MCP_{name.upper()}": _beside(f"mcp-server-{name}") for name in OWN}
    return {**found, "WORLD": str(world), "NODE_PATH": _path_with_node()}


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evolve"


def _cached(name: str, program: str) -> str:
    for folder in sorted((cache() / "mcp").glob(f"{name}-2*"), reverse=True):
        if (folder / program).exists():
            return str(folder / program)
    raise NotInstalled(f"the MCP server {name} is not installed: run `make mcp-servers`")


def _beside(program: str) -> str:
    path = Path(sys.executable).parent / program
    if not path.exists():
        raise NotInstalled(f"{program} is not installed beside {sys.executable}: run `make setup`")
    return str(path)


def _path_with_node() -> str:
    ours = next((cache() / "coders").glob("node-*/bin/node"), None)
    node = ours or shutil.which("node")
    return f"{Path(node).parent}:{os.environ['PATH']}" if node else os.environ["PATH"]
