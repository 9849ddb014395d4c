"""Copies of the shim under their hash: an image goes on starting with the very PID 1 that it was judged
with."""

import hashlib
import os
import py_compile
from pathlib import Path

from containers import shim
from containers.host import file_hash, staging_folder
from containers.images import canonical, discard, publish, seal
from containers.runtime import ImageMissing


class ShimStore:
    def __init__(self, home: Path) -> None:
        self._folder = home / "shims"
        self._current: str | None = None

    def current(self) -> str:
        """The hash of this installation's shim, stored if it was not yet."""
        if self._current is None:
            sources = {path.name: path for path in sorted(Path(shim.__file__).parent.glob("*.py"))}
            key = _hash(sources)
            if not (self._folder / key).is_dir():
                self._store(key, sources)
            self._current = key
        return self._current

    def path(self, key: str) -> Path:
        """The folder to show at /shim. Raises ImageMissing when it is gone or changed."""
        folder = self._folder / key
        if _hash({path.name: path for path in (folder / "shim").glob("*.py")}) != key:
            raise ImageMissing(f"the shim {key[:12]} is not here: build the image again")
        return folder

    def empty(self) -> Path:
        folder = self._folder / "empty"
        folder.mkdir(parents=True, exist_ok=True, mode=0o555)
        return folder

    def _store(self, key: str, sources: dict[str, Path]) -> None:
        staging = staging_folder(self._folder)
        try:
            inside = staging / "shim"
            inside.mkdir()
            for name, path in sources.items():
                (inside / name).write_bytes(path.read_bytes())
                py_compile.compile(
                    str(inside / name),
                    dfile=f"/shim/shim/{name}",
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
            seal(inside)
            os.chmod(staging, 0o755)
            publish(staging, self._folder / key)
        finally:
            discard(staging)


def _hash(sources: dict[str, Path]) -> str:
    return hashlib.sha256(canonical({name: file_hash(path) for name, path in sources.items()})).hexdigest()
