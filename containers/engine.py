"""Choosing an engine, and saying in one line why it can't be used. There is never a silent fall-back to no
sandbox."""

from pathlib import Path

from containers.bubblewrap import BubblewrapRuntime
from containers.runtime import EngineUnavailable

ENGINES = ("auto", "bubblewrap", "docker")


def get_runtime(name: str, home: Path) -> BubblewrapRuntime:
    """The engine called `name` for this home. Raises EngineUnavailable."""
    if name == "docker":
        raise EngineUnavailable('the docker engine is not part of this release: set runtime = "bubblewrap"')
    if name not in ENGINES:
        raise EngineUnavailable(f"unknown runtime {name!r}: one of {', '.join(ENGINES)}")
    return BubblewrapRuntime(home)
