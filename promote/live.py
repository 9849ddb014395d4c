"""Instances as the promoter sees them: start by digest, find by label, fence by looking."""

import contextlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from containers.runtime import ImageRef, Instance, InstanceSpec, Limits, Mount, Runtime, RuntimeBroken
from containers.substrate import SubstrateManifest, load_manifest
from promote.capabilities import difference
from promote.gate import Target
from promote.generations import Generations
from promote.records import Live

SHADOW_EPOCH = 1
_POLL = 0.02
_KEEP_SECONDS = 30.0
log = logging.getLogger("promote")


class FenceFailed(Exception):
    """An old writer could not be shown to be gone."""


@dataclass(frozen=True)
class Surroundings:
    """What a live instance is given beside its image and its state."""

    service: str
    run: Path
    logs: Path
    gateway_dir: Path | None
    environment: Mapping[str, str]
    limits: Limits = field(default_factory=Limits)


class Instances:
    """The only place that starts or stops instances of the service."""

    def __init__(self, runtime: Runtime, generations: Generations, around: Surroundings) -> None:
        self.runtime = runtime
        self.generations = generations
        self.around = around
        self._manifests: dict[str, SubstrateManifest] = {}
        self._kept: frozenset[str] | None = None
        self._keep_again = 0.0
        self._gained: dict[tuple[str, str], tuple[str, ...]] = {}

    def manifest(self, digest: str) -> SubstrateManifest:
        """The image's own `substrate.toml`."""
        if digest not in self._manifests:
            with tempfile.TemporaryDirectory(prefix="manifest-", dir=self._folder("tmp")) as folder:
                self.runtime.export(ImageRef(digest), Path(folder))
                self._manifests[digest] = load_manifest(Path(folder))
        return self._manifests[digest]

    def gained(self, base: str, target: str) -> tuple[str, ...]:
        """Capabilities of the target image's sources that the base's don't have, read from both images as they are here."""
        if (base, target) not in self._gained:
            with tempfile.TemporaryDirectory(prefix="sources-", dir=self._folder("tmp")) as folder:
                trees = []
                for name, digest in (("base", base), ("target", target)):
                    self.runtime.export(ImageRef(digest), Path(folder, name))
                    trees.append(_texts(Path(folder, name)))
            old, new = trees
            changed = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
            reach = difference(*({path: tree[path] for path in changed & tree.keys()} for tree in (old, new)))
            self._gained[base, target] = tuple(reach["added"])
        return self._gained[base, target]

    def run_dir(self, epoch: int) -> Path:
        return self.around.run / f"agent-{epoch}"

    def target(self, live: Live) -> Target:
        return Target(str(self.run_dir(live.epoch) / "agent.sock"), live.epoch, live.digest)

    def let_edge_in(self, live: Live) -> None:
        """The service's socket is its own user's, and the edge may be another. A link in its place is not followed."""
        with contextlib.suppress(OSError):
            handle = os.open(self.run_dir(live.epoch) / "agent.sock", os.O_PATH | os.O_NOFOLLOW)
            try:
                if stat.S_ISSOCK(os.fstat(handle).st_mode):
                    os.chmod(f"/proc/self/fd/{handle}", 0o666)
            finally:
                os.close(handle)

    def start(self, live: Live) -> Instance:
        """Own the generation, then start. The name is the key: running already means nothing is done."""
        self.generations.own(live.generation, live.epoch)
        run = self.run_dir(live.epoch)
        labels = {
            "evolve.role": "live",
            "evolve.service": self.around.service,
            "evolve.epoch": str(live.epoch),
            "evolve.generation": str(live.generation),
        }
        for dead in self.runtime.find(labels):
            if not dead.status().running:
                self._forget(dead)
        run.mkdir(parents=True, exist_ok=True)
        spec = InstanceSpec(
            name=f"{self.around.service}-{live.epoch}",
            role="live",
            argv=("@serve",),
            env=self._environment(live),
            mounts=(
                Mount(self.generations.data(live.generation), "/state", writable=True),
                Mount(self.generations.ctl(live.generation), "/ctl"),
                Mount(run, "/run/agent", writable=True),
                Mount(self.around.gateway_dir or self._folder("no-gateway"), "/run/gateway"),
            ),
            labels=labels,
            limits=self.around.limits,
            survives_caller=True,
        )
        return self.runtime.start(ImageRef(live.digest), spec)

    def _environment(self, live: Live) -> dict[str, str]:
        return {
            **self.around.environment,
            "AGENT_SOCKET": "/run/agent/agent.sock",
            "STATE_DIR": "/state",
            "GATEWAY_SOCKET": "/run/gateway/gateway.sock",
            "INSTANCE_EPOCH": str(live.epoch),
            "IMAGE_DIGEST": live.digest,
            "BOOT_NONCE": live.boot_nonce,
        }

    def writers(self) -> list[Instance]:
        """Every running live instance, whoever started it."""
        labels = {"evolve.role": "live", "evolve.service": self.around.service}
        return [instance for instance in self.runtime.find(labels) if instance.status().running]

    def is_running(self, live: Live) -> bool:
        return any(
            epoch_of(writer) == live.epoch and writer.digest == live.digest for writer in self.writers()
        )

    def keep(self, digests: frozenset[str]) -> None:
        """Let exactly these images survive a prune of the engine, whether something runs from them or not. Asked again and
        again it looks seldom; what fails is told and tried again, for it does no harm by itself."""
        if digests == self._kept and time.monotonic() < self._keep_again:
            return
        self._kept, self._keep_again = digests, time.monotonic() + _KEEP_SECONDS
        try:
            self.runtime.keep([ImageRef(digest) for digest in sorted(digests)], self.around.service)
        except RuntimeBroken as error:
            log.warning("images are not kept from a prune: %s", error)

    def fence(self, grace: float, deadline: float, keep: Live | None = None) -> None:
        """Stop every writer (but `keep`) and wait until they are seen gone and no lock is held."""
        end = time.monotonic() + deadline
        while True:
            others = [writer for writer in self.writers() if keep is None or epoch_of(writer) != keep.epoch]
            for writer in others:
                self.runtime.stop(writer, grace)
                self._forget(writer)
            spared = keep.generation if keep is not None else None
            held = [k for k in self.generations.present() if k != spared and self.generations.locked(k)]
            if not others and not held:
                return
            if time.monotonic() > end:
                raise FenceFailed(f"still there: {[w.name for w in others]}, generations locked: {held}")
            time.sleep(_POLL)

    def _forget(self, instance: Instance) -> None:
        """Keep the last words, then remove; the dead instance's socket folder goes too."""
        logs = self._folder(str(self.around.logs))
        (logs / f"{instance.name}.log").write_text(self.runtime.logs(instance), encoding="utf-8")
        self.runtime.remove(instance)
        shutil.rmtree(self.run_dir(epoch_of(instance)), ignore_errors=True)

    def last_words(self, live: Live, limit: int = 2000) -> str:
        """The end of an instance's log, for the record of why it failed."""
        for instance in self.runtime.find({"evolve.epoch": str(live.epoch), "evolve.role": "live"}):
            return self.runtime.logs(instance, limit)
        return ""

    def run_on(
        self, digest: str, argv: tuple[str, ...], data: Path, seconds: float
    ) -> tuple[int | None, str]:
        """Run one command of an image on a copy of the state, without network. None: it did not end in
        time."""
        name = f"{self.around.service}-{data.parent.name}-{time.monotonic_ns()}"
        live = Live(digest=digest, generation=0, epoch=SHADOW_EPOCH)
        spec = InstanceSpec(
            name=name,
            role="shadow",
            argv=argv,
            env={**self._environment(live), "PYTHONPATH": "/app:/deps"},
            mounts=(Mount(data, "/state", writable=True),),
            labels={"evolve.role": "shadow", "evolve.service": self.around.service},
            limits=replace(self.around.limits, wall_seconds=seconds),
        )
        instance = self.runtime.start(ImageRef(digest), spec)
        try:
            return instance.wait(seconds), self.runtime.logs(instance, 4000)
        finally:
            self.runtime.kill(instance)
            self.runtime.remove(instance)

    def shadow(self, digest: str, folder: Path) -> tuple[Instance, Path]:
        """Boot an image on the copy in `folder`/data, with no gateway; returns it and its socket."""
        live = Live(digest=digest, generation=0, epoch=SHADOW_EPOCH, boot_nonce="shadow")
        run = folder / "run"
        run.mkdir()
        spec = InstanceSpec(
            name=f"{self.around.service}-{folder.name}-{time.monotonic_ns()}",
            role="shadow",
            argv=("@serve",),
            env=self._environment(live),
            mounts=(
                Mount(folder / "data", "/state", writable=True),
                Mount(folder / "ctl", "/ctl"),
                Mount(run, "/run/agent", writable=True),
                Mount(self._folder("no-gateway"), "/run/gateway"),
            ),
            labels={"evolve.role": "shadow", "evolve.service": self.around.service},
        )
        return self.runtime.start(ImageRef(digest), spec), run / "agent.sock"

    def clear_shadows(self) -> None:
        """What a killed promoter's preflight may have left."""
        for instance in self.runtime.find({"evolve.role": "shadow", "evolve.service": self.around.service}):
            self.runtime.kill(instance)
            self.runtime.remove(instance)

    def _folder(self, name: str) -> Path:
        folder = self.around.run / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _texts(tree: Path) -> dict[str, str]:
    paths = (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(tree)): path.read_text(encoding="utf-8", errors="replace") for path in paths}


def epoch_of(instance: Instance) -> int:
    """The epoch on the label; a live instance without one is nobody's."""
    try:
        return int(instance.labels["evolve.epoch"])
    except (KeyError, ValueError):
        raise RuntimeBroken(f"{instance.name}: a live instance without an epoch") from None
