"""The production engine: every instance is one container of a Docker Engine, with our shim as PID 1."""

import contextlib
import hashlib
import os
import secrets
import socket
import sys
import time
import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import requests
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound

from containers import docker_keep, images, layers, prepare, processes
from containers.bytecode import compile_tree
from containers.docker_attach import Attached
from containers.docker_images import DockerImages
from containers.docker_options import DockerOptions
from containers.docker_spec import LABEL, Identity, creation
from containers.host import staging_folder
from containers.orders import Means, orders, task_of
from containers.registry import Registry
from containers.runtime import (
    Capabilities,
    EngineUnavailable,
    ImageRef,
    Instance,
    InstanceSpec,
    InstanceStatus,
    Mount,
    RuntimeBroken,
    check_adoption,
    readable,
)
from containers.seccomp import filter_bytes
from containers.shim_store import ShimStore
from containers.substrate import SubstrateManifest

CALL_SECONDS = 60
"""No call to the engine waits longer for its answer."""
GONE_SECONDS = 30.0
START_SECONDS = 30.0
AGENT, HEARTBEAT = "/run/agent", "heartbeat.json"
STANDARD_HOST = "unix:///var/run/docker.sock"
PATH = "/usr/local/bin:/usr/bin:/bin"
_SHOWN_AT_LAST = 4000
_POLL_SECONDS = 0.01


@dataclass
class DockerInstance:
    """A handle; the truth is what the engine says."""

    name: str
    digest: str
    labels: Mapping[str, str]
    container: str
    runtime: "DockerRuntime"
    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None

    def status(self) -> InstanceStatus:
        return self.runtime.observe(self)

    def wait(self, timeout: float) -> int | None:
        return self.runtime.wait(self, timeout)


class DockerRuntime:
    """Implements `containers.runtime.Runtime` for one home, on an engine that others may use too."""

    name = "docker"

    def __init__(self, home: Path, options: DockerOptions) -> None:
        self.home = home.resolve()
        self.options = options
        self._tag = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        self._images = DockerImages(options.base_image, f"evolve/{self._tag}")
        self._layers = layers.LayerStore(self.home, options.wheelhouse)
        self._shims = ShimStore(self.home)
        self._records = Registry(self.home)
        self._private = self.home / "run" / "containers"
        self._attached: dict[str, Attached] = {}
        self._client: tuple[int, APIClient] | None = None
        self._ground: str | None = None
        with self._calls() as api:
            api.ping()
            self._base = self._images.base_id(api)

    @property
    def capabilities(self) -> Capabilities:
        own = os.geteuid() == 0
        return Capabilities(
            engine=f"docker ({self.options.oci_runtime or 'default runtime'})",
            identity="a distinct unprivileged uid per instance" if own else "the caller's own uid",
            processes="per instance, by cgroup",
            memory="total, by cgroup",
            memory_coders="total, by cgroup",
            cpu="seconds per process, by RLIMIT_CPU; no share of cores",
            files="size of one file, by RLIMIT_FSIZE; size of every tmpfs",
            disk="not limited in total",
            cgroups=(),
        )

    def build(
        self, tree: Path, manifest: SubstrateManifest, labels: Mapping[str, str] | None = None
    ) -> ImageRef:
        files = images.source_files(tree)
        layer = None
        if manifest.lock_file is not None:
            lock = layers.read_lock(tree, manifest.lock_file)
            layer = self._layers.ensure(lock, manifest.lock_file, self._base, self._compile)
        staging = staging_folder(self.home / "images")
        try:
            app = staging / "app"
            app.mkdir()
            images.copy_entries(tree, app, files)
            images.freeze(app, files, "/app", self._compile)
            with self._calls() as api:
                ground = self._images.ground(api, self._shim(), layer.path if layer else None)
                return ImageRef(self._images.add(api, ground, app, manifest, labels or {}))
        finally:
            images.discard(staging)

    def start(self, image: ImageRef | None, spec: InstanceSpec) -> Instance:
        digest = image.digest if image else self._bare()
        with self._records.locked(spec.name):  # another starter's container may not run yet
            for found in self._find({"name": [f"^/{self._container(spec.name)}$"]}):
                if self.observe(found).running:
                    check_adoption(found.digest, digest, spec)
                    return found
                self._remove(found)
            return self._start(digest, image is not None, spec)

    def find(self, labels: Mapping[str, str]) -> list[Instance]:
        return [*self._find({"label": [f"{key}={value}" for key, value in labels.items()]})]

    def stop(self, instance: Instance, grace: float) -> None:
        container = _container_of(instance)
        with self._calls() as api, _already_ended():
            api.kill(container, "SIGTERM")
        self._wait(container, grace)
        self.kill(instance)

    def kill(self, instance: Instance) -> None:
        container = _container_of(instance)
        with self._calls() as api, _already_ended():
            api.kill(container, "SIGKILL")
        deadline = time.monotonic() + GONE_SECONDS
        while (state := self._state(container)) is not None and state["Running"]:
            if time.monotonic() > deadline:
                raise RuntimeBroken(f"{instance.name}: still runs {GONE_SECONDS:g} s after SIGKILL")
            self._wait(container, deadline - time.monotonic())
        self._detach(container)

    def remove(self, instance: Instance) -> None:
        with self._records.locked(instance.name):
            self._remove(instance)

    def _remove(self, instance: Instance) -> None:
        container = _container_of(instance)
        state = self._state(container)
        if state is not None and state["Running"]:
            raise RuntimeBroken(f"{instance.name} still runs: stop it before it is removed")
        self._detach(container)
        with self._calls() as api, contextlib.suppress(NotFound):
            api.remove_container(container, v=True)
        private = self._private / instance.name
        if state is not None and private.is_dir():
            images.discard(private)

    def logs(self, instance: Instance, tail_bytes: int = 65536) -> str:
        kept = self._private / instance.name / "log"
        if kept.exists():
            data = kept.read_bytes()
        else:
            with self._calls() as api, contextlib.suppress(NotFound):
                data = b""
                data = api.logs(_container_of(instance), stdout=True, stderr=True, tail=_SHOWN_AT_LAST)
        return readable(data[-tail_bytes:])

    def stats(self, instance: Instance) -> Mapping[str, int]:
        state = self._state(_container_of(instance))
        if state is None or not state["Running"]:
            return {"processes": 0, "memory_bytes": 0, "cpu_millis": 0}
        return processes.usage(int(state["Pid"]))

    def export(self, image: ImageRef, target: Path, *, bytecode: bool = False) -> None:
        if target.is_dir() and any(target.iterdir()):
            raise RuntimeBroken(f"{target} is not empty")
        target.mkdir(parents=True, exist_ok=True)
        with self._calls() as api:
            self._images.substrate(api, image.digest)
            self._images.export(api, image.digest, target, bytecode)

    def keep(self, images: Collection[ImageRef], owner: str) -> None:
        """Whoever keeps images also keeps what new ones are built on."""
        wanted = {image.digest for image in images}
        with self._calls() as api:
            docker_keep.keep(api, f"{self._tag} {owner}", wanted | {self._base} if wanted else wanted)

    def observe(self, instance: DockerInstance) -> InstanceStatus:
        state = self._state(instance.container)
        running = state is not None and bool(state["Running"])
        code = None if running else int(state["ExitCode"]) if state else 255
        return InstanceStatus(running, code, instance.digest, instance.labels)

    def wait(self, instance: DockerInstance, timeout: float) -> int | None:
        self._wait(instance.container, timeout)
        return self.observe(instance).exit_code

    def orphans(self) -> list[Instance]:
        with self._calls() as api:
            listed = api.containers(all=True, filters={"label": [f"{LABEL}home={self._tag}"]})
        dead = {row["Id"] for row in listed if not _owner_lives(row["Labels"])}
        return [found for found in self._find({}) if found.container in dead]

    def _start(self, digest: str, with_image: bool, spec: InstanceSpec) -> DockerInstance:
        with self._calls() as api:
            substrate = self._images.substrate(api, digest) if with_image else None
        if spec.argv[0] in ("@serve", "@launch") and substrate is None:
            raise RuntimeBroken(f"{spec.name}: {spec.argv[0]} needs an image")
        identity = self._identity(spec)
        with prepare.generation_lock(spec) as lock:
            takes_state = lock is not None or spec.argv[0] != "@serve"
            mounts = prepare.mounts(spec, identity.uid if identity.own else None, own=takes_state)
        nonce = {} if substrate is None else {"BOOT_NONCE": secrets.token_hex(8)}
        prepared = replace(spec, mounts=mounts, env={**nonce, **spec.env})
        private = self._fresh_private(spec.name)
        etc = prepare.make_etc(private, identity.uid)
        (etc / "resolv.conf").touch()
        made = tuple(Mount(path, f"/etc/{path.name}") for path in sorted(etc.iterdir()))
        if spec.host_tools and self.options.host_tools:
            made += tuple(Mount(Path(path), path) for path in _host_tools())
        means = Means(
            log_fd=2,
            lifeline_fd=0 if _holds_stdin(spec) else None,
            opens_lock=True,
            filter=filter_bytes(),
            limits_memory=True,
            counts_processes=identity.own,
        )
        told = orders(prepared, task_of(prepared, digest, substrate, PATH), means)
        body = creation(
            digest, prepared, identity, told, self._labels(spec, identity), made, self.options.oci_runtime
        )
        with self._calls() as api:
            container = str(api.create_container_from_config(body, self._container(spec.name))["Id"])
            instance = DockerInstance(spec.name, digest, dict(spec.labels), container, self)
            try:
                if not spec.survives_caller:
                    self._attach(api, instance, private if spec.interactive else None)
                api.start(container)
            except (APIError, OSError):
                self._detach(container)
                with contextlib.suppress(APIError):
                    api.remove_container(container, v=True, force=True)
                raise
        if spec.argv[0] == "@serve":
            self._wait_claimed(instance, prepared)
        return instance

    def _wait_claimed(self, instance: DockerInstance, spec: InstanceSpec) -> None:
        """Until PID 1 has its generation, or has ended: the next starter must find the lock taken."""
        folder = next((mount.source for mount in spec.mounts if mount.target == AGENT), None)
        nonce = spec.env.get("BOOT_NONCE", "")
        deadline = time.monotonic() + START_SECONDS
        while folder is not None and time.monotonic() < deadline:
            try:
                if nonce in (folder / HEARTBEAT).read_text(errors="replace"):
                    return
            except OSError:
                pass  # it has not beaten yet
            state = self._state(instance.container)
            if state is None or not state["Running"]:
                return
            time.sleep(_POLL_SECONDS)

    def _attach(self, api: APIClient, instance: DockerInstance, private: Path | None) -> None:
        wanted = {"stdin": 1, "stream": 1}
        if private is not None:
            wanted |= {"stdout": 1, "stderr": 1}
        answer = api.attach_socket(instance.container, params=wanted)
        attached = Attached(answer, private / "log" if private is not None else None)
        self._attached[instance.container] = attached
        instance.stdin, instance.stdout = attached.stdin, attached.stdout

    def _detach(self, container: str) -> None:
        attached = self._attached.pop(container, None)
        if attached is not None:
            attached.close()

    def _identity(self, spec: InstanceSpec) -> Identity:
        if os.geteuid() != 0:
            return Identity(os.geteuid(), own=False)
        with self._calls() as api:
            running = api.containers(filters={"label": [f"{LABEL}home={self._tag}"]})
        used = {int(row["Labels"][LABEL + "uid"]) for row in running}
        return Identity(prepare.choose_uid(spec, used), own=True)

    def _labels(self, spec: InstanceSpec, identity: Identity) -> dict[str, str]:
        owner = processes.Identity.of(os.getpid())
        return {
            "home": self._tag,
            "name": spec.name,
            "owner": f"{owner.pid} {owner.started} {owner.boot}" if owner else "",
            "role": spec.role,
            "survives": str(spec.survives_caller).lower(),
            "uid": str(identity.uid),
        }

    def _find(self, filters: dict[str, list[str]]) -> Iterator[DockerInstance]:
        wanted = {**filters, "label": [f"{LABEL}home={self._tag}", *filters.get("label", [])]}
        with self._calls() as api:
            listed = api.containers(all=True, filters=wanted)
        for row in sorted(listed, key=lambda row: str(row["Names"])):
            labels = {name: value for name, value in row["Labels"].items() if not name.startswith(LABEL)}
            name = row["Labels"][LABEL + "name"]
            yield DockerInstance(name, row["ImageID"], labels, row["Id"], self)

    def _state(self, container: str) -> dict[str, Any] | None:
        with self._calls() as api:
            try:
                state: dict[str, Any] = api.inspect_container(container)["State"]
            except NotFound:
                return None
        return state

    def _wait(self, container: str, timeout: float) -> None:
        """Until it ended, or for `timeout` seconds."""
        with contextlib.suppress(
            requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout, NotFound
        ):
            self._api().wait(container, timeout=max(timeout, 0.01))  # type: ignore[arg-type]

    def _bare(self) -> str:
        if self._ground is None:
            with self._calls() as api:
                self._ground = self._images.ground(api, self._shim(), None)
        return self._ground

    def _shim(self) -> Path:
        return self._shims.path(self._shims.current())

    def _compile(self, folder: Path, shown_at: str) -> None:
        compile_tree(self, folder, shown_at)

    def _container(self, name: str) -> str:
        return f"evolve-{self._tag}-{name}"

    def _fresh_private(self, name: str) -> Path:
        private = self._private / name
        images.discard(private)
        private.mkdir(parents=True, mode=0o711)
        return private

    def _api(self) -> APIClient:
        """One client a process: connections do not survive a fork."""
        if self._client is None or self._client[0] != os.getpid():
            host = self.options.host or os.environ.get("DOCKER_HOST") or STANDARD_HOST
            _see_listening(host)
            client = APIClient(base_url=host, timeout=CALL_SECONDS, version="auto")
            weakref.finalize(self, client.close)
            self._client = (os.getpid(), client)
        return self._client[1]

    @contextlib.contextmanager
    def _calls(self) -> Iterator[APIClient]:
        """Whatever the engine or the way to it does wrong is RuntimeBroken, in one line."""
        try:
            yield self._api()
        except NotFound as error:
            raise RuntimeBroken(f"docker: {error.explanation}") from None
        except APIError as error:
            raise RuntimeBroken(f"docker: {error.explanation or error}") from None
        except (DockerException, requests.exceptions.RequestException) as error:
            raise EngineUnavailable(f"no Docker Engine answers: {error}") from None


def _see_listening(host: str) -> None:
    """Raises EngineUnavailable with the system's own word for it."""
    path = host.removeprefix("unix://")
    if path == host:
        raise EngineUnavailable(f"{host}: only an engine on this machine, behind a unix socket, can be used")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            raise EngineUnavailable(
                f"no Docker Engine answers at {path}: {error.strerror}; start it, or set [docker] host"
            ) from None


@contextlib.contextmanager
def _already_ended() -> Iterator[None]:
    try:
        yield
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:  # "is not running"
            raise


def _container_of(instance: Instance) -> str:
    if not isinstance(instance, DockerInstance):
        raise RuntimeBroken(f"{instance.name} is not a container")
    return instance.container


def _holds_stdin(spec: InstanceSpec) -> bool:
    """Whether PID 1 may take the end of standard input for the end of its caller."""
    return not spec.survives_caller and (not spec.interactive or spec.argv[0] == "@launch")


def _host_tools() -> list[str]:
    """The host's programs, and the interpreter's own folder where it lies elsewhere."""
    prefix = os.path.realpath(sys.base_prefix)
    return ["/usr", *([] if Path(prefix).is_relative_to("/usr") else [prefix])]


def _owner_lives(labels: Mapping[str, str]) -> bool:
    pid, started, boot = labels[LABEL + "owner"].split()
    survives = labels[LABEL + "survives"] == "true"
    return survives or processes.Identity(int(pid), int(started), boot).alive()
