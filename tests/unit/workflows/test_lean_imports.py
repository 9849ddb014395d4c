"""What the harness imports has to be in its image, and that has no MCP library."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def imported(module: str) -> set[str]:
    """In a process of its own, for this one may have imported everything already."""
    code = f"import sys, fastapi, httpx2; seen = set(sys.modules); import {module}; print(*sys.modules.keys() - seen)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_harness_imports_no_mcp() -> None:
    assert not {"mcp", "anyio", "deap", "workflows.servers"} & imported("harness.app, harness.planning")


def test_only_who_plans_pays_for_it() -> None:
    assert not {"harness.planning", "workflows.solving"} & imported("harness.app")
