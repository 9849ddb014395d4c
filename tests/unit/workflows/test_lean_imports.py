"""What the harness imports has to be in its image, and that has no MCP library."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_harness_imports_no_mcp() -> None:
    """In a process of its own, for this one may have imported everything already."""
    code = "import harness.app, sys; print(sorted({'mcp', 'anyio', 'workflows.servers'} & (sys.modules.keys() - seen)))"
    command = [sys.executable, "-c", f"import sys, fastapi, httpx2; seen = set(sys.modules); {code}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
