"""Runs inside a sandbox and tries to get out; prints one JSON line per attempt: {"name", "ok", "detail"}.

Standard library only and independent of this project: `containers.conformance` shows the file inside and
reads the lines. `ok` is true when the attempt was refused. Attempts that only the host can judge (did a
datagram arrive?) print what they sent and are judged there.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TIMEOUT = 2.0
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_PTRACE_ATTACH = 16
_SYSCALLS = {"x86_64": {"add_key": 248, "io_uring_setup": 425, "bpf": 321}, "aarch64": {"add_key": 217}}
_FOLDERS = (
    "/", "/app", "/bin", "/boot", "/ctl", "/deps", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt",
    "/proc", "/proc/sys/kernel", "/root", "/run", "/run/gateway", "/sbin", "/shim", "/srv", "/sys", "/sys/fs/cgroup",
    "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/var", "/var/lib",
)  # fmt: skip
_FILES = (
    "/dev/kmsg", "/dev/mem", "/etc/hosts", "/etc/passwd", "/proc/1/mem", "/proc/1/oom_score_adj",
    "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
)  # fmt: skip
_SETUID_SHELLS = ("/bin/su", "/usr/bin/su", "/usr/bin/sudo", "/usr/bin/pkexec")
_DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"}


def refused(action: Callable[[], object]) -> tuple[bool, str]:
    """An attempt that must end in an OSError (or the like)."""
    try:
        result = action()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return True, f"{type(error).__name__}: {error}"[:200]
    return False, f"it worked: {result!r}"[:200]


def call(name: str, *arguments: object) -> int:
    """A C library function that must succeed; OSError otherwise."""
    result = int(getattr(_LIBC, name)(*arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def connect(family: int, address: object) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT)
        client.connect(address)  # type: ignore[arg-type]
    return f"connected to {address}"


def send(family: int, kind: int, protocol: int, address: tuple[str, int], data: bytes) -> str:
    with socket.socket(family, kind, protocol) as sender:
        sender.settimeout(TIMEOUT)
        sender.sendto(data, address)
    return f"sent to {address}"


def status_line(name: str) -> str:
    text = Path("/proc/self/status").read_text()
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(name + ":"))


def network(told: dict[str, object]) -> dict[str, Callable[[], tuple[bool, str]]]:
    port, abstract = int(str(told["tcp_port"])), str(told["abstract"])
    hosts = [str(host) for host in told["addresses"]]  # type: ignore[attr-defined]

    def every(family: int) -> tuple[bool, str]:
        results = [refused(lambda host=host: connect(family, (host, port))) for host in hosts]  # type: ignore[misc]
        return all(ok for ok, _ in results), "; ".join(detail for _, detail in results)[:200]

    def bash() -> tuple[bool, str]:
        found = [path for path in ("/bin/bash", "/usr/bin/bash") if os.path.exists(path)]
        if not found:
            return True, "no shell inside"
        command = [found[0], "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
        return refused(lambda: subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT))

    def proxies() -> tuple[bool, str]:
        names = sorted(name for name in os.environ if name.lower().endswith("_proxy"))
        return not names, f"set: {names}"

    def interfaces() -> tuple[bool, str]:
        names = sorted(
            line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]
        )
        return names == ["lo"], f"interfaces: {names}"

    ping = b"\x08\x00\xf7\xff\x00\x00\x00\x00"
    udp = (socket.AF_INET, socket.SOCK_DGRAM, 0, ("192.0.2.1", 53), b"out")
    icmp = (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP, ("192.0.2.1", 0), ping)
    return {
        "tcp": lambda: every(socket.AF_INET),
        "udp": lambda: refused(lambda: send(*udp)),
        "dns": lambda: refused(lambda: socket.getaddrinfo("example.com", 80)),
        "icmp": lambda: refused(lambda: send(*icmp)),
        "ipv6": lambda: refused(lambda: connect(socket.AF_INET6, ("2001:db8::1", port))),
        "metadata address": lambda: refused(lambda: connect(socket.AF_INET, ("169.254.169.254", 80))),
        "/dev/tcp": bash,
        "abstract unix socket": lambda: refused(lambda: connect(socket.AF_UNIX, "\0" + abstract)),
        "host-gateway name": lambda: refused(lambda: socket.gethostbyname("host.docker.internal")),
        "proxy variables": proxies,
        "raw socket": lambda: refused(
            lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        ),
        "packet socket": lambda: refused(lambda: socket.socket(17, socket.SOCK_RAW)),
        "vsock": lambda: refused(lambda: socket.socket(40, socket.SOCK_STREAM)),
        "interfaces": interfaces,
    }


def files(told: dict[str, object]) -> dict[str, Callable[[], tuple[bool, str]]]:
    hidden = dict(told["hidden"])  # type: ignore[call-overload]

    def unseen() -> tuple[bool, str]:
        """An image may hold a path of that name, but not the host's very file."""
        seen = []
        for path, identity in hidden.items():
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if identity in (None, [found.st_dev, found.st_ino]):
                    seen.append(path)
        return not seen, f"seen: {seen}" if seen else f"{len(hidden)} paths of the host are not there"

    def only_named() -> tuple[bool, str]:
        extra = sorted(set(os.listdir("/run"))) if os.path.isdir("/run") else []
        return not extra, f"/run holds {extra}"

    def read_only() -> tuple[bool, str]:
        written = []
        for folder in (*_FOLDERS, os.path.dirname(os.__file__)):
            with contextlib.suppress(OSError), open(f"{folder}/evolve-probe", "w"):
                written.append(folder)
        for file in _FILES:
            with contextlib.suppress(OSError):
                os.close(os.open(file, os.O_WRONLY))
                written.append(file)
        tried = len(_FOLDERS) + 1 + len(_FILES)
        return not written, f"wrote to {written}" if written else f"{tried} places refused"

    def descriptors() -> tuple[bool, str]:
        with os.scandir("/proc/self/fd") as entries:
            links = {int(entry.name): os.readlink(entry.path) for entry in entries if int(entry.name) > 2}
        links = {number: link for number, link in links.items() if not link.startswith("/proc/")}
        return not links, f"open: {links}"

    def devices() -> tuple[bool, str]:
        strange = []
        for entry in Path("/dev").iterdir():
            mode = entry.lstat().st_mode
            if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and entry.name not in _DEVICES):
                strange.append(entry.name)
        made = refused(lambda: os.mknod("/tmp/probe-device", stat.S_IFCHR | 0o600, os.makedev(1, 1)))
        return not strange and made[0], f"strange: {strange}; mknod: {made[1]}"

    def environment() -> tuple[bool, str]:
        leaked = sorted(name for name in os.environ if name == told["marker"])
        return not leaked, f"leaked: {leaked}"

    return {
        "no host files": unseen,
        "nothing named, nothing shown": only_named,
        "read-only trees": read_only,
        "inherited descriptor": descriptors,
        "device nodes": devices,
        "host environment": environment,
    }


def privileges() -> dict[str, Callable[[], tuple[bool, str]]]:
    numbers = _SYSCALLS.get(os.uname().machine, {})

    def capabilities() -> tuple[bool, str]:
        sets = {name: status_line(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        return all(int(value, 16) == 0 for value in sets.values()), str(sets)

    def unprivileged() -> tuple[bool, str]:
        back = refused(lambda: os.setuid(0))
        return os.getuid() != 0 and back[0], f"uid {os.getuid()}; setuid(0): {back[1]}"

    def setuid_programs() -> tuple[bool, str]:
        """Whatever stands inside with that bit gives nobody root."""
        won = []
        for program in filter(os.path.exists, _SETUID_SHELLS):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                command = [program, "-c", "id -u"] if program.endswith("su") else [program, "id", "-u"]
                told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
                won += [program] if told.stdout.strip() == b"0" else []
        return not won, f"root by {won}" if won else "none makes us root"

    def no_new_privileges() -> tuple[bool, str]:
        return status_line("NoNewPrivs") == "1", f"NoNewPrivs {status_line('NoNewPrivs')}"

    def strangers() -> tuple[bool, str]:
        others = sorted(
            int(name)
            for name in os.listdir("/proc")
            if name.isdecimal() and int(name) not in (1, os.getpid())
        )
        return not others, f"others: {others}"

    def first_process() -> tuple[bool, str]:
        tried = {
            "ptrace": refused(lambda: call("ptrace", _PTRACE_ATTACH, 1, None, None)),
            "mem": refused(lambda: open("/proc/1/mem", "rb").close()),
            "fd": refused(lambda: os.listdir("/proc/1/fd")),
            "environ": refused(lambda: Path("/proc/1/environ").read_bytes()),
            "prlimit": refused(lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1))),
        }
        through = sorted(name for name, (ok, _) in tried.items() if not ok)
        return not through, f"got through: {through}"

    def kill_first() -> tuple[bool, str]:
        for number in (9, 19):
            with contextlib.suppress(PermissionError):
                os.kill(1, number)
        state = Path("/proc/1/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state in "SRD", f"PID 1 is in state {state}"

    def shared_memory() -> tuple[bool, str]:
        return refused(lambda: call("shmget", 4711, 4096, 0o1600))

    return {
        "no capabilities": capabilities,
        "no root": unprivileged,
        "setuid programs": setuid_programs,
        "no new privileges": no_new_privileges,
        "no foreign processes": strangers,
        "PID 1 untouchable": first_process,
        "PID 1 unkillable": kill_first,
        "nested user namespace": lambda: refused(lambda: call("unshare", _CLONE_NEWUSER)),
        "nested mount namespace": lambda: refused(lambda: call("unshare", _CLONE_NEWNS)),
        "mount": lambda: refused(lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None)),
        "unmount": lambda: refused(lambda: call("umount2", b"/app", 2)),
        "queues that outlive a case": shared_memory,
        **{name: _barred(number) for name, number in numbers.items()},
    }


def _barred(number: int) -> Callable[[], tuple[bool, str]]:
    """A system call that must be refused as such, not for its arguments."""

    def attempt() -> tuple[bool, str]:
        try:
            call("syscall", number, b"user", b"probe", b"x", 1, -3)
        except OSError as error:
            return error.errno in (errno.EPERM, errno.ENOSYS), str(error)
        return False, "it worked"

    return attempt


def main() -> None:
    told = json.loads(sys.argv[1])
    for name, attempt in {**network(told), **files(told), **privileges()}.items():
        try:
            ok, detail = attempt()
        except (OSError, ValueError, LookupError) as error:
            ok, detail = False, f"the probe broke: {type(error).__name__}: {error}"
        print(json.dumps({"name": name, "ok": ok, "detail": detail}), flush=True)


if __name__ == "__main__":
    main()
