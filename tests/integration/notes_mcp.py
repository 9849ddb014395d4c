"""An MCP server over stdio that keeps notes in a file: FILE SECONDS. `append` takes that time before it writes, and
after, and is not idempotent."""

import sys
import time
from pathlib import Path

from mcp.server import MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel

FILE, SECONDS = Path(sys.argv[1]), float(sys.argv[2])
server = MCPServer("notes")


class Kept(BaseModel):
    lines: int


@server.tool(annotations=ToolAnnotations(destructiveHint=False))
def append(text: str, line: int = 0) -> Kept:
    """Append a line."""
    time.sleep(SECONDS)
    with FILE.open("a") as stream:
        stream.write(f"{text}\n")
    time.sleep(SECONDS)
    return Kept(lines=len(FILE.read_text().splitlines()))


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def read() -> str:
    """All lines."""
    return FILE.read_text() if FILE.exists() else ""


if __name__ == "__main__":
    server.run("stdio")
