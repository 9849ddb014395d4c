"""Real MCP servers for the tests: pinned, each in a folder of its own below a cache outside the checkout.

`python tests/integration/mcp_servers.py` installs what is missing and is what `make mcp-servers` runs. mcp-server-git and
mcp-server-time are among the tests' own dependencies.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coder_clis import DONE, install_missing, node_folder, npm_install, pip_install
from coder_clis import cache as coders


@dataclass(frozen=True)
class McpServer:
    name: str
    registry: str
    package: str
    version: str
    program: str
    beside: tuple[str, ...] = ()
    """What else has to go into its venv."""

    @property
    def folder(self) -> Path:
        return cache() / f"{self.name}-{self.version}"

    @property
    def path(self) -> Path:
        return self.folder / ("bin" if self.registry == "pip" else "node_modules/.bin") / self.program

    @property
    def installed(self) -> bool:
        return (self.folder / DONE).exists()


SERVERS = {
    server.name: server
    for server in (
        McpServer("sqlite", "pip", "mcp-server-sqlite", "2025.4.25", "mcp-server-sqlite", ("mcp<2",)),
        *(
            McpServer(name, "npm", f"@modelcontextprotocol/server-{name}", "2026.8.31", f"mcp-server-{name}")
            for name in ("filesystem", "memory", "everything", "sequential-thinking")
        ),
    )
}


def cache() -> Path:
    return coders().with_name("mcp")


def environment() -> Mapping[str, str]:
    """With the Node.js that the servers from npm were installed with."""
    node = node_folder()
    return {"PATH": f"{node}:{os.environ['PATH']}"} if node else {}


def install(server: McpServer) -> None:
    """Raises OSError when a registry can't be reached or has no such version."""
    server.folder.mkdir(parents=True, exist_ok=True)
    if server.registry == "pip":
        pip_install(server.folder, f"{server.package}=={server.version}", *server.beside)
    else:
        npm_install(server.folder, f"{server.package}@{server.version}")
    if not server.path.exists():
        raise FileNotFoundError(f"{server.path}: not there after the install")
    (server.folder / DONE).touch()


if __name__ == "__main__":
    sys.exit(install_missing("mcp-servers", SERVERS, install))
