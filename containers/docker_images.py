"""Images of the Docker engine, made without running anything and without a network: layers are archives that we
write ourselves, byte for byte the same for the same content, and so is the id that the engine gives them.

`base` (interpreter and system libraries) → ground: /shim and the dependency layer at /deps → image: the tree at /app
with its bytecode. An image is used by id only; its tag merely keeps the engine's garbage collection away.
"""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from docker import APIClient
from docker.errors import ImageNotFound

from containers.docker_spec import LABEL
from containers.images import MAX_BYTES, canonical, is_bytecode
from containers.runtime import ImageMissing, RuntimeBroken
from containers.substrate import SubstrateManifest

SUBSTRATE = LABEL + "substrate"
"""The label that holds the substrate's manifest as JSON."""
_EPOCH = "1970-01-01T00:00:00Z"
_POINTS = {"app": 0o755, "ctl": 0o755, "deps": 0o755, "root": 0o755, "shim": 0o755, "state": 0o1777}
"""Mount points and what is above them; a memory file system takes the mode of the folder below it."""


class DockerImages:
    """Builds on one base image and reads back."""

    def __init__(self, base: str, repository: str) -> None:
        self._base, self._repository = base, repository

    def base_id(self, api: APIClient) -> str:
        """Raises ImageMissing."""
        try:
            return str(api.inspect_image(self._base)["Id"])
        except ImageNotFound:
            raise ImageMissing(
                f"the base image {self._base} is not in this engine: import it, or name another in [docker] base_image"
            ) from None

    def ground(self, api: APIClient, shim: Path, deps: Path | None) -> str:
        """Id of the base with PID 1 and a dependency layer."""
        with tempfile.TemporaryFile() as layer:
            with _archive(layer) as archive:
                for point, mode in _POINTS.items():
                    _add_folder(archive, point, mode)
                _add_tree(archive, shim, "shim")
                if deps is not None:
                    _add_tree(archive, deps, "deps")
            return self._add(api, self._base, layer, {})

    def add(
        self, api: APIClient, ground: str, app: Path, manifest: SubstrateManifest, origin: Mapping[str, str]
    ) -> str:
        """Id of a substrate's image. `origin`: labels for people, beside the numbers of its state's schema."""
        with tempfile.TemporaryFile() as layer:
            with _archive(layer) as archive:
                _add_tree(archive, app, "app")
            schema = manifest.state_schema
            shown = {**origin, "state.reads": _numbers(schema.reads), "state.writes": str(schema.writes)}
            labels = {SUBSTRATE: canonical(manifest.model_dump(mode="json")).decode()}
            return self._add(
                api, ground, layer, labels | {LABEL + "image." + name: text for name, text in shown.items()}
            )

    def substrate(self, api: APIClient, digest: str) -> dict[str, Any]:
        """What the image says of its service. Raises ImageMissing when it is not here, or none of ours."""
        found = self._inspect(api, digest)
        if found["Id"] != digest:
            raise ImageMissing(f"{digest} is not an image's id")
        text = (found["Config"].get("Labels") or {}).get(SUBSTRATE)
        if text is None:
            raise ImageMissing(f"image {digest} was not built by this product")
        table: dict[str, Any] = json.loads(text)
        return table

    def export(self, api: APIClient, digest: str, target: Path, bytecode: bool) -> None:
        """Write the tree at /app into the empty folder `target`."""
        shell = api.create_container_from_config({"Image": digest, "Cmd": ["none"], "Entrypoint": []})["Id"]
        try:
            chunks, _ = api.get_archive(shell, "/app")
            with tempfile.TemporaryFile() as file:
                for chunk in chunks:
                    file.write(chunk)
                file.seek(0)
                with tarfile.open(fileobj=file) as archive:
                    _unpack(archive, target, bytecode)
        finally:
            api.remove_container(shell, v=True, force=True)

    def _inspect(self, api: APIClient, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = api.inspect_image(name)
        except ImageNotFound:
            raise ImageMissing(
                f"image {name} is not in this engine: build it again from its commit"
            ) from None
        return found

    def _add(self, api: APIClient, parent: str, layer: IO[bytes], labels: dict[str, str]) -> str:
        """One more layer on `parent`. The engine computes the id from the configuration, we too: they must agree."""
        below = self._inspect(api, parent)
        layers = below["RootFS"]["Layers"]
        layer.seek(0)
        difference = "sha256:" + hashlib.file_digest(layer, "sha256").hexdigest()  # type: ignore[arg-type]
        config = canonical(
            {
                "architecture": below["Architecture"],
                "config": {"Env": below["Config"].get("Env") or [], "Labels": labels},
                "created": _EPOCH,
                "history": [],
                "os": below["Os"],
                "rootfs": {"diff_ids": [*layers, difference], "type": "layers"},
            }
        )
        name = hashlib.sha256(config).hexdigest()
        try:
            api.inspect_image(f"sha256:{name}")
        except ImageNotFound:
            self._load(api, name, config, len(layers), layer)
        api.tag(f"sha256:{name}", self._repository, name[:12])
        return f"sha256:{name}"

    def _load(self, api: APIClient, name: str, config: bytes, below: int, layer: IO[bytes]) -> None:
        listing = {
            "Config": f"{name}.json",
            "Layers": [*(f"{number}.tar" for number in range(below)), "own.tar"],
            "RepoTags": None,
        }
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                _add_bytes(archive, f"{name}.json", config)
                _add_bytes(archive, "manifest.json", canonical([listing]))
                size = layer.seek(0, io.SEEK_END)
                layer.seek(0)
                archive.addfile(_entry("own.tar", size, 0o644), layer)
            file.seek(0)
            for answer in api.load_image(file, quiet=True):
                if "error" in answer:
                    raise RuntimeBroken(f"the engine does not take the image: {answer['error']}")
        try:
            api.inspect_image(f"sha256:{name}")
        except ImageNotFound:
            raise RuntimeBroken(
                "the engine gave the image another id than its content has: it keeps images in containerd; "
                'set "features": {"containerd-snapshotter": false} in its daemon.json'
            ) from None


def _numbers(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _archive(file: IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)


def _entry(name: str, size: int, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, mode
    return entry


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_entry(name, len(data), 0o644), io.BytesIO(data))


def _add_folder(archive: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    entry = _entry(name, 0, mode)
    entry.type = tarfile.DIRTYPE
    archive.addfile(entry)


def _add_tree(archive: tarfile.TarFile, top: Path, shown_as: str) -> None:
    """Regular files and folders, in the order of their names; nobody's, and without times."""
    for path in sorted(top.rglob("*")):
        name = f"{shown_as}/{path.relative_to(top).as_posix()}"
        if path.is_dir():
            _add_folder(archive, name)
            continue
        with path.open("rb") as file:
            info = path.stat()
            archive.addfile(_entry(name, info.st_size, 0o555 if info.st_mode & 0o100 else 0o444), file)


def _unpack(archive: tarfile.TarFile, target: Path, bytecode: bool) -> None:
    total = 0
    for entry, relative in _members(archive):
        if is_bytecode(relative) and not bytecode:
            continue
        path = target / relative
        if entry.isdir():
            continue
        source = archive.extractfile(entry) if entry.isreg() else None
        total += entry.size
        if source is None or total > MAX_BYTES:
            raise RuntimeBroken(f"the image holds {relative}, which no tree of ours may")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read())
        path.chmod(0o755 if entry.mode & 0o100 else 0o644)


def _members(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str]]:
    for entry in archive:
        top, _, relative = entry.name.partition("/")
        if top != "app" or ".." in relative.split("/") or relative.startswith("/"):
            raise RuntimeBroken(f"the engine sent {entry.name!r} for /app")
        if relative:
            yield entry, relative
