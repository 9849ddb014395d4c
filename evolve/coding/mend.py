"""`evolve-mend` as a coder: the same sandbox as any command, with `evolve-check` as its test command."""

import sys
from collections.abc import Iterator
from pathlib import Path

from containers.runtime import Mount
from evolve.coding.command import CommandCoder
from evolve.coding.libraries import library_mounts

LIBRARY = "/opt/mend"


def mend_coder(seconds: float, jobs: int) -> CommandCoder:
    """The repair CLI, given a little less than its wall time so that it can end by itself; it tries `jobs` edits at once."""
    interpreter = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    return CommandCoder(
        name="mend",
        argv=(
            *(str(interpreter), "-S", "-B", "-m", "evolve.mend"),
            *("--repo", "{repo}", "--already-sandboxed", "--jobs", str(jobs)),
            *("--json", "--seed", "{seed}", "--test", "evolve-check --fail-fast --tree . --junit {junit}"),
            *("--suspects", "/work/task/suspects.jsonl", "--files", "**/*.py"),
            *("--budget-seconds", str(max(5, int(seconds) - 5))),
        ),
        env={"PYTHONPATH": LIBRARY, "PYTHONDONTWRITEBYTECODE": "1"},
        mounts=tuple(_mounts()),
    )


def _mounts() -> Iterator[Mount]:
    package = Path(__file__).parents[1]
    yield Mount(package / "__init__.py", f"{LIBRARY}/evolve/__init__.py")
    yield Mount(package / "mend", f"{LIBRARY}/evolve/mend")
    yield from library_mounts(LIBRARY, "deap")
