"""What a sandbox looks like, as a pure function: layout and spec in, the argument list of `bwrap` out.

Nothing here touches the machine, so every mount, namespace and capability is tested by equality.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from containers.runtime import InstanceSpec, Mount, RuntimeBroken

Mode = Literal["root", "user"]

STATUS_FD = 8
SECCOMP_FD = 7
TMP_BYTES = 256 << 20
SHM_BYTES = 64 << 20
SHIM_COMMAND = "import sys; sys.path.insert(0, '/shim'); from shim.main import main; main()"
SHIM_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
_RESERVED = (
    "/",
    "/proc",
    "/dev",
    "/sys",
    "/shim",
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/tmp",
    "/run",
)
_ROLES_WITH_FIXED_TREE = ("live", "shadow")


@dataclass(frozen=True)
class HostLayout:
    """What of the host is shown, read-only: the interpreter and the libraries that it and its wheels link."""

    bwrap: str
    mode: Mode
    interpreter: str
    binds: tuple[str, ...]
    """Shown at the same path."""
    links: tuple[tuple[str, str], ...]
    """(target, name) of root symlinks, as on a merged-/usr system."""
    masks: tuple[str, ...]
    """Folders inside `binds` that are shown empty: site-packages, the control plane's environment."""
    host_tools: tuple[str, ...] = ("/usr",)


@dataclass(frozen=True)
class InstanceFiles:
    """Folders prepared for one instance."""

    shim: str
    etc: str
    empty: str
    app: str | None
    deps: str | None
    uid: int
    gid: int


def arguments(layout: HostLayout, files: InstanceFiles, spec: InstanceSpec) -> list[str]:
    """The whole command line, `bwrap` first. Raises RuntimeBroken for a mount that would shadow the sandbox's
    own."""
    check_spec(spec)
    return [
        layout.bwrap,
        *_isolation(layout.mode, files),
        *_parents(layout, spec, below_tmp=False),
        *_system(layout, files, spec.host_tools),
        *_private(spec.argv[0] == "@launch"),
        *_parents(layout, spec, below_tmp=True),
        *_content(files, spec.mounts),
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        "/",
        "--",
        layout.interpreter,
        *("-I", "-S", "-X", "utf8", "-c", SHIM_COMMAND),
    ]


def check_spec(spec: InstanceSpec) -> None:
    seen: set[str] = set()
    for mount in spec.mounts:
        target = mount.target
        parts = target.split("/")
        clean = parts[0] == "" and not {"", ".", ".."} & set(parts[1:])
        shadowing = target in _RESERVED or target.startswith(("/proc/", "/dev/", "/shim/"))
        if not clean or shadowing or target in seen:
            raise RuntimeBroken(f"{spec.name}: nothing may be mounted at {target!r}")
        if spec.role in _ROLES_WITH_FIXED_TREE and (target + "/").startswith(("/app/", "/deps/")):
            raise RuntimeBroken(
                f"{spec.name}: a {spec.role} instance runs its image's tree; {target!r} is refused"
            )
        seen.add(target)
    if spec.forwards and spec.argv[0].startswith("@"):
        raise RuntimeBroken(f"{spec.name}: {spec.argv[0]} forwards no ports")


def _isolation(mode: Mode, files: InstanceFiles) -> Iterator[str]:
    if mode == "user":
        yield from ("--unshare-user", "--disable-userns", "--uid", str(files.uid), "--gid", str(files.gid))
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
    yield from ("--hostname", "sandbox", "--as-pid-1", "--clearenv", "--cap-drop", "ALL")
    if mode == "root":
        for capability in SHIM_CAPABILITIES:
            yield from ("--cap-add", capability)
    yield from ("--json-status-fd", str(STATUS_FD), "--seccomp", str(SECCOMP_FD))


def _parents(layout: HostLayout, spec: InstanceSpec, *, below_tmp: bool) -> Iterator[str]:
    """Folders above mount points; bwrap would make them for its own user alone, and PID 1 becomes another. Those
    below /tmp must wait until it is mounted."""
    targets = [*layout.binds, *(mount.target for mount in spec.mounts)]
    folders = {str(parent) for target in targets for parent in PurePosixPath(target).parents}
    for folder in sorted(
        folder for folder in folders - {"/", "/tmp"} if folder.startswith("/tmp/") == below_tmp
    ):
        yield from ("--perms", "0755", "--dir", folder)


def _system(layout: HostLayout, files: InstanceFiles, host_tools: bool) -> Iterator[str]:
    shown = layout.host_tools if host_tools else ()
    for path in shown:
        yield from ("--ro-bind", path, path)
    for path in layout.binds:
        if not _below_any(path, shown):
            yield from ("--ro-bind", path, path)
    for path in layout.masks:
        if not _below_any(path, shown):
            yield from ("--ro-bind", files.empty, path)
    for target, name in layout.links:
        yield from ("--symlink", target, name)
    yield from ("--ro-bind", files.shim, "/shim", "--ro-bind", files.etc, "/etc")


def _private(launcher: bool) -> Iterator[str]:
    yield from ("--proc", "/proc", "--dev", "/dev")
    folders = [("/dev/shm", SHM_BYTES), ("/tmp", TMP_BYTES)]
    if launcher:
        folders.append(("/state", TMP_BYTES))
    for path, size in folders:
        yield from ("--perms", "1777", "--size", str(size), "--tmpfs", path)


def _content(files: InstanceFiles, mounts: Sequence[Mount]) -> Iterator[str]:
    shown = {mount.target: mount for mount in mounts}
    for target, source in (("/app", files.app or files.empty), ("/deps", files.deps or files.empty)):
        shown.setdefault(target, Mount(Path(source), target))
    for target in sorted(shown):
        mount = shown[target]
        yield from ("--bind" if mount.writable else "--ro-bind", str(mount.source), target)


def _below_any(path: str, folders: Sequence[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)
