"""The model server of the demo: started, and gone at the end whatever happens."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from evolve.errors import Broken


@contextmanager
def model_server(module: str = "evolve.demo.world.model") -> Iterator[int]:
    """Yields its port. `module` runs as a program and prints it."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.strip().isdigit():
            raise Broken("the demo's model server does not start")
        yield int(line)
    finally:
        process.kill()
        process.communicate()
