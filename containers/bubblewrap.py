"""The embedded engine: every instance is one `bwrap` with our shim as PID 1. See docs/containers.md."""

import os
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from containers import cgroups, host, images, layers, prepare, processes
from containers.bytecode import compile_tree
from containers.capabilities import describe
from containers.launch import Launched, launch
from containers.orders import Task, task_of
from containers.registry import Record, Registry, bwrap_status
from containers.runtime import (
    Capabilities,
    ImageMissing,
    ImageRef,
    Instance,
    InstanceSpec,
    InstanceStatus,
    RuntimeBroken,
    check_adoption,
    readable,
)
from containers.shim_store import ShimStore
from containers.spec import InstanceFiles, arguments
from containers.substrate import SubstrateManifest

GONE_SECONDS = 30.0
MONITOR_SECONDS = 5.0
EXIT_UNKNOWN = 255
"""Reported when an instance is gone and its monitor was killed before it could write down how it ended."""


@dataclass
class BubblewrapInstance:
    """A handle; the truth is the registry and the kernel."""

    name: str
    digest: str
    labels: Mapping[str, str]
    record: Record
    runtime: "BubblewrapRuntime"
    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None

    def status(self) -> InstanceStatus:
        return self.runtime.observe(self.record)

    def wait(self, timeout: float) -> int | None:
        return self.runtime.wait(self.record, timeout)


class BubblewrapRuntime:
    """Implements `containers.runtime.Runtime` for one home."""

    name = "bubblewrap"

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self._registry = Registry(self.home)
        self._images = images.ImageStore(self.home)
        self._layers = layers.LayerStore(self.home)
        self._shims = ShimStore(self.home)
        self._mode = host.engine_mode()
        self._interpreter, libraries = host.interpreter_digest(self.home / "cache" / "interpreter.json")
        self._layout = host.layout(self._mode, libraries)
        self.groups = cgroups.find_parents()
        self._launched: dict[str, Launched] = {}

    @property
    def capabilities(self) -> Capabilities:
        return describe(self._mode, self.groups)

    def build(
        self, tree: Path, manifest: SubstrateManifest, labels: Mapping[str, str] | None = None
    ) -> ImageRef:
        files = images.source_files(tree)
        layer = None
        if manifest.lock_file is not None:
            lock = layers.read_lock(tree, manifest.lock_file)
            layer = self._layers.ensure(lock, manifest.lock_file, self._interpreter, self._compile)
        parts = images.StoredImage(
            digest="",
            files=tuple(files),
            compiled=(),
            layer=layer.key if layer else None,
            layer_digest=layer.digest if layer else None,
            interpreter=self._interpreter,
            shim=self._shims.current(),
            substrate=manifest.model_dump(mode="json"),
            labels=dict(labels or {}),
        )
        return self._images.add(tree, replace(parts, digest=images.digest_of(parts)), self._compile)

    def start(self, image: ImageRef | None, spec: InstanceSpec) -> Instance:
        digest = image.digest if image else ""
        with self._registry.locked(spec.name):
            running = self._registry.read(spec.name)
            if running is not None and running.init.alive():
                check_adoption(running.digest, digest, spec)
                return self.handle(running)
            if running is not None:
                self._bury(running)
            return self._start(digest, spec)

    def find(self, labels: Mapping[str, str]) -> list[Instance]:
        return [self.handle(record) for record in self._registry.matching(labels)]

    def orphans(self) -> list[Instance]:
        return [
            self.handle(record)
            for record in self._registry.all()
            if not record.survives_caller and not record.owner.alive()
        ]

    def stop(self, instance: Instance, grace: float) -> None:
        record = self._record(instance)
        if record is not None and record.init.alive():
            record.init.terminate(time.monotonic() + grace)
        self.kill(instance)

    def kill(self, instance: Instance) -> None:
        record = self._record(instance)
        if record is None:
            return
        record.init.kill(time.monotonic() + GONE_SECONDS)
        self._exit_code(record)
        self._release(record)

    def remove(self, instance: Instance) -> None:
        with self._registry.locked(instance.name):
            record = self._record(instance)
            if record is None:
                return
            if record.init.alive():
                raise RuntimeBroken(f"{instance.name} still runs: stop it before it is removed")
            self._bury(record)

    def logs(self, instance: Instance, tail_bytes: int = 65536) -> str:
        try:
            with (self._registry.private(instance.name) / "log").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - tail_bytes))
                data = file.read(tail_bytes)
        except FileNotFoundError:
            return ""
        return readable(data)

    def stats(self, instance: Instance) -> Mapping[str, int]:
        record = self._record(instance)
        if record is None or not record.init.alive():
            return {"processes": 0, "memory_bytes": 0, "cpu_millis": 0}
        return processes.usage(record.init.pid)

    def export(self, image: ImageRef, target: Path, *, bytecode: bool = False) -> None:
        stored = self._images.load(image.digest)
        if target.is_dir() and any(target.iterdir()):
            raise RuntimeBroken(f"{target} is not empty")
        target.mkdir(parents=True, exist_ok=True)
        entries = [*stored.files, *(stored.compiled if bytecode else ())]
        images.copy_entries(self._images.path(image.digest) / "app", target, entries)

    def keep(self, images: Collection[ImageRef], owner: str) -> None:
        """Images are files that nobody else tidies."""

    def observe(self, record: Record) -> InstanceStatus:
        running = record.init.alive()
        code = None if running else self._exit_code(record)
        return InstanceStatus(running, code, record.digest, record.labels)

    def wait(self, record: Record, timeout: float) -> int | None:
        deadline = time.monotonic() + timeout
        while record.init.alive():
            if not record.init.wait_gone(deadline):
                return None
        return self._exit_code(record)

    def _start(self, digest: str, spec: InstanceSpec) -> Instance:
        stored, layer = self._verified(digest)
        if spec.argv[0] in ("@serve", "@launch") and stored is None:
            raise RuntimeBroken(f"{spec.name}: {spec.argv[0]} needs an image")
        shim = self._shims.path(stored.shim if stored is not None else self._shims.current())
        used = {record.uid for record in self._registry.all() if record.init.alive()}
        uid = prepare.choose_uid(spec, used)
        with prepare.generation_lock(spec) as lock:
            takes_state = lock is not None or spec.argv[0] != "@serve"
            mounts = prepare.mounts(spec, uid if self._mode == "root" else None, own=takes_state)
            prepared = replace(spec, mounts=mounts)
            private = self._registry.prepare(spec.name)
            files = InstanceFiles(
                shim=str(shim),
                etc=str(prepare.make_etc(private, uid)),
                empty=str(self._shims.empty()),
                app=str(self._images.path(digest) / "app") if stored is not None else None,
                deps=str(layer.path) if layer is not None else None,
                uid=uid,
                gid=uid,
            )
            try:
                launched = launch(
                    arguments(self._layout, files, prepared),
                    private,
                    prepared,
                    self._task(prepared, stored),
                    uid if self._mode == "root" else None,
                    lock,
                    lambda child: self._register(digest, prepared, uid, child),
                )
            except RuntimeBroken:
                self._forget_failed(spec.name)
                raise
        self._launched[spec.name] = launched
        record = self._registry.read(spec.name)
        if record is None:
            raise RuntimeBroken(f"{spec.name}: its record vanished while it started")
        return self.handle(record)

    def _verified(self, digest: str) -> tuple[images.StoredImage | None, layers.Layer | None]:
        """The image and its layer after every byte was checked. Raises ImageMissing."""
        if not digest:
            return None, None
        stored = self._images.load(digest)
        if stored.interpreter != self._interpreter:
            raise ImageMissing(
                f"image {digest} is for another interpreter or system libraries: build it again"
            )
        layer = self._layers.load(stored.layer) if stored.layer else None
        if layer is not None and layer.digest != stored.layer_digest:
            raise ImageMissing(f"the dependency layer of image {digest} is another one: build it again")
        return stored, layer

    def _forget_failed(self, name: str) -> None:
        record = self._registry.read(name)
        if record is None:
            self._registry.forget(name)
        else:
            self._bury(record)

    def _register(
        self, digest: str, spec: InstanceSpec, uid: int, child: tuple[int, int]
    ) -> Mapping[str, bool]:
        """Called while PID 1 still waits for its orders: limit it, and write it down before it may run."""
        init, monitor, owner = (processes.Identity.of(pid) for pid in (*child, os.getpid()))
        if init is None or monitor is None or owner is None:
            raise RuntimeBroken(f"{spec.name}: ended before it began")
        folders, held = cgroups.enter(self.groups, f"{init.pid}-{init.started}", init.pid, spec.limits)
        self._registry.write(
            Record(
                name=spec.name,
                digest=digest,
                role=spec.role,
                labels=dict(spec.labels),
                init=init,
                monitor=monitor,
                owner=owner,
                survives_caller=spec.survives_caller,
                uid=uid,
                cgroups=folders,
            )
        )
        return {"memory": "memory" in held}

    def _task(self, spec: InstanceSpec, stored: images.StoredImage | None) -> Task:
        path = f"{os.path.dirname(self._layout.interpreter)}:/usr/local/bin:/usr/bin:/bin"
        if stored is None:
            return task_of(spec, "", None, path)
        named = replace(spec, env={"BOOT_NONCE": secrets.token_hex(8), **spec.env})
        return task_of(named, stored.digest, stored.substrate, path)

    def handle(self, record: Record) -> BubblewrapInstance:
        launched = self._launched.get(record.name)
        handle = BubblewrapInstance(record.name, record.digest, record.labels, record, self)
        if launched is not None and launched.monitor == record.monitor.pid:
            handle.stdin, handle.stdout = launched.stdin, launched.stdout
        return handle

    def _record(self, instance: Instance) -> Record | None:
        """The record as it is now, if it is still the one that this handle was made for."""
        record = self._registry.read(instance.name)
        if (
            record is not None
            and isinstance(instance, BubblewrapInstance)
            and instance.record.init != record.init
        ):
            return None
        return record

    def _release(self, record: Record) -> None:
        """After every process inside is gone: drop our pipes and the groups."""
        launched = self._launched.get(record.name)
        if launched is not None and launched.monitor == record.monitor.pid:
            del self._launched[record.name]
            launched.close()
        cgroups.leave(record.cgroups)

    def _exit_code(self, record: Record) -> int:
        """bwrap writes it down a moment after the last process inside is gone."""
        record.monitor.wait_gone(time.monotonic() + MONITOR_SECONDS)
        record.monitor.reap()
        return bwrap_status(self._registry.private(record.name)).get("exit-code", EXIT_UNKNOWN)

    def _bury(self, record: Record) -> None:
        self._exit_code(record)
        self._release(record)
        self._registry.forget(record.name)

    def _compile(self, folder: Path, shown_at: str) -> None:
        compile_tree(self, folder, shown_at)
