"""Installed distributions with all that they need, as a bundled coder's sandbox is shown them."""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from containers.runtime import Mount

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def library_mounts(target: str, *names: str) -> Iterator[Mount]:
    """Each folder and file that belongs to these distributions or to what they require, below `target`. What is not
    installed is left out: it is for another Python or system."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        waiting += [_NAME.match(one)[0] for one in found.requires or () if "extra ==" not in one]  # type: ignore[index]
        yield from (Mount(place, f"{target}/{place.name}") for place in _places(found))


def _places(found: Distribution) -> list[Path]:
    """At the top of where it is installed; not its programs."""
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
    return [Path(str(found.locate_file(top))) for top in sorted(tops)]
