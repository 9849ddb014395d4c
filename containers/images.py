"""Images: a tree frozen under the hash of everything that will run.

`images/<hex>/manifest.json` lists every file; the digest covers it together with the substrate's manifest,
the layer, the interpreter and the shim. `images/<hex>/app` is read-only and holds, beside the tree, the
bytecode that we compiled.
"""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containers.host import file_hash, staging_folder, sync_folder, write_atomically
from containers.runtime import ImageMissing, ImageRef, RuntimeBroken
from containers.shim.files import wipe

Entry = tuple[str, bool, str]
"""(relative path, executable, sha256)."""
Compile = Callable[[Path, str], None]
"""Compile the sources of a folder that will be shown at a path inside the sandbox; runs sandboxed."""

MAX_FILES = 50_000
MAX_BYTES = 2 << 30
_IGNORED = (".git",)


@dataclass(frozen=True)
class StoredImage:
    """What an image's manifest says."""

    digest: str
    files: tuple[Entry, ...]
    compiled: tuple[Entry, ...]
    """Derived from `files` by us; checked at every start, not part of the digest."""
    layer: str | None
    layer_digest: str | None
    interpreter: str
    shim: str
    substrate: dict[str, Any]
    labels: dict[str, str]


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(image: StoredImage) -> str:
    covered = {
        "files": image.files,
        "interpreter": image.interpreter,
        "labels": image.labels,
        "layer": image.layer_digest,
        "shim": image.shim,
        "substrate": image.substrate,
        "v": 2,
    }
    return "sha256:" + hashlib.sha256(canonical(covered)).hexdigest()


def list_files(tree: Path, *, ignore: tuple[str, ...] = _IGNORED) -> list[Entry]:
    """Every file of a plain tree, sorted. Raises RuntimeBroken for links, special files, bytecode and sheer
    size."""
    entries: list[Entry] = []
    total = 0
    folders = [tree]
    while folders:
        folder = folders.pop()
        for item in sorted(folder.iterdir()):
            relative = item.relative_to(tree).as_posix()
            if folder == tree and item.name in ignore:
                continue
            info = item.lstat()
            if stat.S_ISDIR(info.st_mode):
                folders.append(item)
                continue
            _refuse_oddities(relative, info)
            total += info.st_size
            entries.append((relative, bool(info.st_mode & 0o100), file_hash(item)))
            if len(entries) > MAX_FILES or total > MAX_BYTES:
                raise RuntimeBroken(f"{tree.name}: more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB")
    return sorted(entries)


def _refuse_oddities(relative: str, info: os.stat_result) -> None:
    if stat.S_ISLNK(info.st_mode):
        raise RuntimeBroken(f"{relative}: an image holds no links")
    if not stat.S_ISREG(info.st_mode):
        raise RuntimeBroken(f"{relative}: an image holds regular files only")
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise RuntimeBroken(f"{relative!r}: file names are UTF-8") from None


def is_bytecode(relative: str) -> bool:
    return relative.endswith((".pyc", ".pyo")) or "__pycache__" in relative.split("/")


def source_files(tree: Path) -> list[Entry]:
    """`list_files` of a tree in which bytecode has no place: what runs must be what was reviewed."""
    entries = list_files(tree)
    for relative, _, _ in entries:
        if is_bytecode(relative):
            raise RuntimeBroken(
                f"{relative}: compiled bytecode in the tree is refused; only sources can be reviewed"
            )
    return entries


def copy_entries(source: Path, target: Path, entries: list[Entry]) -> None:
    for relative, executable, _ in entries:
        path = target / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / relative, path, follow_symlinks=False)
        path.chmod(0o755 if executable else 0o644)


def seal(folder: Path) -> None:
    """Make a tree readable by any instance's user and writable by nobody."""
    for base, folders, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(base, name)
            path.chmod(0o555 if path.lstat().st_mode & 0o100 else 0o444)
        for name in folders:
            Path(base, name).chmod(0o555)
    folder.chmod(0o555)


class ImageStore:
    def __init__(self, home: Path) -> None:
        self.folder = home / "images"
        self._verified: dict[str, str] = {}

    def path(self, digest: str) -> Path:
        return self.folder / digest.removeprefix("sha256:")

    def add(self, tree: Path, parts: StoredImage, compile_tree: Compile) -> ImageRef:
        """Store `tree`, whose `source_files` are `parts.files`, under its digest. Leaves nothing
        half-built."""
        final = self.path(parts.digest)
        if final.is_dir():
            self.load(parts.digest)
            return ImageRef(parts.digest)
        staging = staging_folder(self.folder)
        try:
            app = staging / "app"
            app.mkdir()
            copy_entries(tree, app, list(parts.files))
            compiled = freeze(app, list(parts.files), "/app", compile_tree)
            fields = {**parts.__dict__, "compiled": compiled}
            write_atomically(staging / "manifest.json", canonical(fields), 0o444)
            staging.chmod(0o755)
            publish(staging, final)
        finally:
            discard(staging)
        return ImageRef(parts.digest)

    def load(self, digest: str) -> StoredImage:
        """The image's manifest, after its bytes were checked against it. Raises ImageMissing."""
        path = self.path(digest)
        try:
            fields = json.loads((path / "manifest.json").read_bytes())
            for key in ("files", "compiled"):
                fields[key] = tuple((str(name), bool(mode), str(sha)) for name, mode, sha in fields[key])
            image = StoredImage(**fields)
        except (OSError, ValueError, TypeError):
            raise ImageMissing(f"no image {digest} here: build it again from its commit") from None
        if image.digest != digest or digest_of(image) != digest:
            raise ImageMissing(
                f"the manifest of image {digest} does not hash to it: remove it and build it again"
            )
        self._verify(path / "app", digest, [*image.files, *image.compiled])
        return image

    def _verify(self, folder: Path, digest: str, expected: list[Entry]) -> None:
        fingerprint = stat_fingerprint(folder)
        if self._verified.get(digest) != fingerprint:
            check_entries(folder, expected, f"image {digest}")
            self._verified[digest] = fingerprint


def freeze(folder: Path, sources: list[Entry], shown_at: str, compile_tree: Compile) -> tuple[Entry, ...]:
    """Compile, then see that compiling added bytecode and changed nothing else; seal. Returns the bytecode's
    entries."""
    compile_tree(folder, shown_at)
    found = list_files(folder, ignore=())
    compiled = tuple(entry for entry in found if is_bytecode(entry[0]))
    if [entry for entry in found if not is_bytecode(entry[0])] != sources:
        raise RuntimeBroken("the tree changed while it was being built")
    seal(folder)
    return compiled


def check_entries(folder: Path, expected: list[Entry], what: str) -> None:
    """Raises ImageMissing when the folder is not exactly what was stored."""
    try:
        found = list_files(folder, ignore=())
    except (OSError, RuntimeBroken) as error:
        raise ImageMissing(f"{what} is damaged ({error}): remove it and build it again") from None
    if found != sorted(expected):
        changed = sorted({entry[0] for entry in {*found} ^ {*expected}})
        raise ImageMissing(f"{what} is damaged ({changed[0]}): remove it and build it again")


def stat_fingerprint(folder: Path) -> str:
    """Changes whenever any file below could have changed (the change time is the kernel's, not the
    writer's)."""
    total = hashlib.sha256()
    for base, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*names, *folders]):
            info = os.lstat(os.path.join(base, name))
            total.update(
                f"{base}/{name}\0{info.st_ino} {info.st_ctime_ns} {info.st_size} {info.st_mode}\n".encode()
            )
    return total.hexdigest()


def publish(staging: Path, final: Path) -> None:
    """Move a finished folder to its content-addressed place; whoever was first wins, with the same bytes."""
    for base, _, names in os.walk(staging):
        for name in names:
            descriptor = os.open(os.path.join(base, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(base))
    try:
        os.rename(staging, final)
    except OSError:
        if not final.is_dir():
            raise
    sync_folder(final.parent)


def discard(staging: Path) -> None:
    if staging.is_dir():
        wipe(str(staging))
        staging.rmdir()
