"""The argument list of bwrap, by equality: a changed mount, namespace or capability must be seen here."""

from dataclasses import replace
from pathlib import Path

import pytest

from containers.runtime import InstanceSpec, Mount, RuntimeBroken
from containers.spec import SHIM_COMMAND, HostLayout, InstanceFiles, arguments

LAYOUT = HostLayout(
    bwrap="/opt/bwrap",
    mode="root",
    interpreter="/py/bin/python3.11",
    binds=("/py", "/usr/lib/x"),
    links=(("usr/lib", "/lib"),),
    masks=("/py/lib/python3.11/site-packages",),
)
FILES = InstanceFiles(
    shim="/h/shims/s",
    etc="/h/etc",
    empty="/h/empty",
    app="/h/images/i/app",
    deps="/h/layers/l/deps",
    uid=7,
    gid=7,
)
OUT = Mount(Path("/w/out"), "/out", writable=True)
SPEC = InstanceSpec(name="n", role="trial", argv=("@launch",), mounts=(OUT,))
ROOT_ISOLATION = """--unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup-try
    --hostname sandbox --as-pid-1 --clearenv
    --cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP
    --json-status-fd 8 --seccomp 7"""


def test_a_trial_as_root_sees_exactly_this() -> None:
    expected = f"""/opt/bwrap {ROOT_ISOLATION}
        --perms 0755 --dir /usr --perms 0755 --dir /usr/lib
        --ro-bind /py /py --ro-bind /usr/lib/x /usr/lib/x --ro-bind /h/empty /py/lib/python3.11/site-packages
        --symlink usr/lib /lib --ro-bind /h/shims/s /shim --ro-bind /h/etc /etc
        --proc /proc --dev /dev
        --perms 1777 --size 67108864 --tmpfs /dev/shm
        --perms 1777 --size 268435456 --tmpfs /tmp
        --perms 1777 --size 268435456 --tmpfs /state
        --ro-bind /h/images/i/app /app --ro-bind /h/layers/l/deps /deps --bind /w/out /out
        --remount-ro /dev --remount-ro / --chdir / -- /py/bin/python3.11 -I -S -X utf8 -c""".split()
    assert arguments(LAYOUT, FILES, SPEC) == [*expected, SHIM_COMMAND]


def test_an_ordinary_user_gets_a_user_namespace_that_cannot_be_nested_and_no_capability() -> None:
    built = arguments(replace(LAYOUT, mode="user"), FILES, SPEC)
    assert built[1:8] == ["--unshare-user", "--disable-userns", "--uid", "7", "--gid", "7", "--unshare-ipc"]
    assert "--cap-add" not in built
    assert built[built.index("--cap-drop") + 1] == "ALL"


def test_only_a_spec_that_asks_for_host_tools_sees_the_hosts_usr() -> None:
    assert "--ro-bind /usr /usr" not in " ".join(arguments(LAYOUT, FILES, SPEC))
    built = " ".join(arguments(LAYOUT, FILES, replace(SPEC, host_tools=True)))
    assert "--ro-bind /usr /usr" in built
    assert "--ro-bind /usr/lib/x" not in built


def test_a_bare_sandbox_has_empty_app_and_deps_and_no_state() -> None:
    built = " ".join(
        arguments(LAYOUT, replace(FILES, app=None, deps=None), replace(SPEC, argv=("true",), mounts=()))
    )
    assert "--ro-bind /h/empty /app --ro-bind /h/empty /deps" in built
    assert "/state" not in built


def test_a_worktree_may_stand_in_for_the_tree_of_a_trial() -> None:
    built = " ".join(arguments(LAYOUT, FILES, replace(SPEC, mounts=(Mount(Path("/w/tree"), "/app"),))))
    assert "--ro-bind /w/tree /app" in built
    assert "/h/images/i/app" not in built


@pytest.mark.parametrize("target", ["/app", "/app/x", "/deps", "/deps/y"])
def test_a_live_instance_runs_its_images_tree_and_nothing_else(target: str) -> None:
    live = replace(SPEC, role="live", argv=("@serve",), mounts=(Mount(Path("/w"), target),))
    with pytest.raises(RuntimeBroken, match="runs its image's tree"):
        arguments(LAYOUT, FILES, live)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/proc",
        "/proc/1",
        "/dev",
        "/dev/shm",
        "/shim",
        "/shim/x",
        "/etc",
        "/usr",
        "relative",
        "/a/../etc",
        "/a/",
        "//a",
    ],
)
def test_a_mount_may_not_shadow_the_sandbox_itself(target: str) -> None:
    with pytest.raises(RuntimeBroken, match="nothing may be mounted"):
        arguments(LAYOUT, FILES, replace(SPEC, mounts=(Mount(Path("/w"), target),)))


def test_two_mounts_at_one_place_are_refused() -> None:
    twice = (Mount(Path("/a"), "/x"), Mount(Path("/b"), "/x"))
    with pytest.raises(RuntimeBroken, match="nothing may be mounted"):
        arguments(LAYOUT, FILES, replace(SPEC, mounts=twice))


@pytest.mark.parametrize("argv", [("@serve",), ("@launch",)])
def test_neither_a_service_nor_the_launcher_has_forwarded_ports(argv: tuple[str, ...]) -> None:
    with pytest.raises(RuntimeBroken, match="forwards no ports"):
        arguments(LAYOUT, FILES, replace(SPEC, argv=argv, forwards={8080: "/run/gateway/s"}))
    arguments(LAYOUT, FILES, replace(SPEC, argv=("sh",), forwards={8080: "/run/gateway/s"}))
