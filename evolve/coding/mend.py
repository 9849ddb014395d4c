"""`evolve-mend` as a coder: the same sandbox as any command, with `evolve-check` as its test command."""

import importlib.util
import sys
from pathlib import Path

from containers.runtime import Mount
from evolve.coding.command import CommandCoder

LIBRARY = "/opt/mend"
PACKAGES = ("deap", "numpy", "numpy.libs")


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


def _mounts() -> list[Mount]:
    package = Path(__file__).parents[1]
    found = [
        Mount(package / "__init__.py", f"{LIBRARY}/evolve/__init__.py"),
        Mount(package / "mend", f"{LIBRARY}/evolve/mend"),
    ]
    spec = importlib.util.find_spec("deap")
    if spec is None or spec.origin is None:
        return found
    libraries = Path(spec.origin).parents[1]
    return found + [
        Mount(libraries / name, f"{LIBRARY}/{name}") for name in PACKAGES if (libraries / name).is_dir()
    ]
