"""The search for better workflows as a coder: the same sandbox as any command, with `evolve-check` as its judge."""

import sys
from collections.abc import Iterator
from pathlib import Path

import workflows
from containers.runtime import Mount
from evolve.coding.command import CommandCoder
from evolve.coding.libraries import library_mounts
from evolve.settings import WORKFLOWS

LIBRARY = "/opt/workflow-mend"


def workflow_coder(seconds: float, *, any_tool: bool) -> CommandCoder:
    """It is given a little less than its wall time, so that it can end by itself. `any_tool`: a workflow may call what it
    did not call before."""
    interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    return CommandCoder(
        name=WORKFLOWS,
        argv=(
            *(str(interpreter), "-S", "-B", "-m", "evolve.workflow_mend"),
            *("--repo", "{repo}", "--task", "/work/task", "--seed", "{seed}"),
            *("--budget-seconds", str(max(5, int(seconds) - 10))),
            *(["--any-tool"] if any_tool else []),
        ),
        env={"PYTHONPATH": LIBRARY, "PYTHONDONTWRITEBYTECODE": "1"},
        mounts=tuple(_mounts()),
    )


def _mounts() -> Iterator[Mount]:
    package = Path(__file__).parents[1]
    yield Mount(package / "__init__.py", f"{LIBRARY}/evolve/__init__.py")
    yield Mount(package / "workflow_mend", f"{LIBRARY}/evolve/workflow_mend")
    yield Mount(Path(workflows.__file__).parent, f"{LIBRARY}/workflows")
    yield from library_mounts(LIBRARY, "deap", "jsonschema", "pydantic")
