"""Dependency layers: the substrate's own lock file, installed into a folder, once per lock and interpreter.

A lock file is input from the tree: only pinned, hashed, plain requirements get through, so that it can steer
neither the installer's options nor where packages come from. Wheels only: a source package would run its code
on this host.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from containers.host import staging_folder, write_atomically
from containers.images import (
    Compile,
    Entry,
    canonical,
    check_entries,
    discard,
    freeze,
    list_files,
    publish,
    stat_fingerprint,
)
from containers.runtime import ImageMissing, RuntimeBroken
from containers.shim.files import wipe

INSTALL_SECONDS = 900
_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_MARKER = re.compile(r"[A-Za-z0-9_.'\"<>=!,() -]+")
_VOLATILE = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")


@dataclass(frozen=True)
class Layer:
    key: str
    digest: str
    path: Path


def read_lock(tree: Path, name: str) -> str:
    """Raises RuntimeBroken."""
    try:
        return (tree / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuntimeBroken(f"{name}: {error}") from None


def parse_lock(text: str, name: str) -> list[str]:
    """Canonical requirement lines. Raises RuntimeBroken, naming the line, for anything but a hashed pin."""
    lines = []
    for number, logical in _logical_lines(text):
        head, *hashes = re.split(r"\s+(?=--)", logical)
        pin, _, marker = head.partition(";")
        pin, marker = pin.replace(" ", ""), marker.strip()
        if not _PIN.fullmatch(pin) or (marker and not _MARKER.fullmatch(marker)):
            raise RuntimeBroken(
                f"{name}:{number}: only `package==version --hash=sha256:…` lines, not {logical[:80]!r}"
            )
        if not hashes or not all(_HASH.fullmatch(item.strip()) for item in hashes):
            raise RuntimeBroken(f"{name}:{number}: {pin} needs sha256 hashes and no other option")
        suffix = f" ; {marker}" if marker else ""
        lines.append(f"{pin}{suffix} " + " ".join(sorted(item.strip() for item in hashes)))
    return sorted(lines)


def _logical_lines(text: str) -> list[tuple[int, str]]:
    found, pending, start = [], "", 1
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        start = start if pending else number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        logical, pending = (pending + line).strip(), ""
        if logical:
            found.append((start, logical))
    if pending.strip():
        found.append((start, pending.strip()))
    return found


class LayerStore:
    def __init__(self, home: Path, wheelhouse: Path | None = None) -> None:
        """`wheelhouse`: the one folder that wheels may come from."""
        self.folder = home / "layers"
        self._wheelhouse = wheelhouse
        self._verified: dict[str, str] = {}

    def ensure(self, lock: str, name: str, interpreter: str, compile_tree: Compile) -> Layer:
        """The layer of this lock file's text, installed if it is not here yet."""
        lines = parse_lock(lock, name)
        key = hashlib.sha256(canonical({"lock": lines, "interpreter": interpreter, "v": 1})).hexdigest()
        if (self.folder / key / "manifest.json").is_file():
            return self.load(key)
        staging = staging_folder(self.folder)
        try:
            deps = staging / "deps"
            deps.mkdir()
            if lines:
                _install(lines, deps, name, self._wheelhouse)
            normalise(deps)
            files = list_files(deps, ignore=())
            digest = "sha256:" + hashlib.sha256(canonical(files)).hexdigest()
            compiled = freeze(deps, files, "/deps", compile_tree)
            fields = {"digest": digest, "files": files, "compiled": compiled, "lock": lines}
            write_atomically(staging / "manifest.json", canonical(fields), 0o444)
            staging.chmod(0o755)
            publish(staging, self.folder / key)
        finally:
            discard(staging)
        return self.load(key)

    def load(self, key: str) -> Layer:
        """Raises ImageMissing when the layer is gone or its bytes changed."""
        path = self.folder / key
        try:
            fields = json.loads((path / "manifest.json").read_bytes())
            files = _entries(fields["files"])
            expected = [*files, *_entries(fields["compiled"])]
            digest = str(fields["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ImageMissing(f"no dependency layer {key[:12]} here: build the image again") from None
        if digest != "sha256:" + hashlib.sha256(canonical(files)).hexdigest():
            raise ImageMissing(
                f"dependency layer {key[:12]} does not hash to its name: remove it and build again"
            )
        fingerprint = stat_fingerprint(path / "deps")
        if self._verified.get(key) != fingerprint:
            check_entries(path / "deps", expected, f"dependency layer {key[:12]}")
            self._verified[key] = fingerprint
        return Layer(key, digest, path / "deps")


def _entries(rows: list[tuple[str, bool, str]]) -> list[Entry]:
    return [(str(name), bool(mode), str(sha)) for name, mode, sha in rows]


def _install(lines: list[str], target: Path, name: str, wheelhouse: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="evolve-lock-") as folder:
        lock = Path(folder, "lock.txt")
        lock.write_text("\n".join(lines) + "\n", encoding="utf-8")
        source = ["--no-index", "--find-links", str(wheelhouse)] if wheelhouse is not None else []
        command = [
            *_installer(),
            *source,
            "--require-hashes",
            "--no-deps",
            "--target",
            str(target),
            "-r",
            str(lock),
        ]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RuntimeBroken(f"{name}: installing took more than {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        reason = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        raise RuntimeBroken(f"{name}: cannot install: {' / '.join(reason)[:600]}")


def _installer() -> list[str]:
    """pip of this environment, else uv; both with the operator's own index configuration."""
    if find_spec("pip") is not None:
        options = [
            "--disable-pip-version-check",
            "--no-input",
            "--no-compile",
            "--only-binary",
            ":all:",
            "-q",
        ]
        return [sys.executable, "-m", "pip", "install", *options]
    if find_spec("uv") is not None:
        options = ["--only-binary", ":all:", "--python", sys.executable, "-q"]
        return [sys.executable, "-m", "uv", "pip", "install", *options]
    raise RuntimeBroken("neither pip nor uv is installed beside the product: `python -m ensurepip`")


def normalise(deps: Path) -> None:
    """Drop what differs between machines and installers: console scripts (they name this host's Python),
    bytecode, and who installed it how."""
    for name in ("bin", "Scripts"):
        if (deps / name).is_dir():
            wipe(str(deps / name))
            (deps / name).rmdir()
    for info in deps.glob("*.dist-info"):
        for name in _VOLATILE:
            (info / name).unlink(missing_ok=True)
    for cache in sorted(deps.rglob("__pycache__")):
        wipe(str(cache))
        cache.rmdir()
    (deps / ".lock").unlink(missing_ok=True)
