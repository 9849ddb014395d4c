"""What every engine must hold, tried for real: `evolve doctor` runs it, and so do our tests, on every engine.

Nothing here trusts a setting: code inside tries to get out (`containers.probes`), and the host looks at what
arrived.
"""

import contextlib
import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from containers import probes
from containers.orders import LOG_BYTES
from containers.runtime import Instance, InstanceSpec, Limits, Mount, Runtime, RuntimeBroken
from containers.spec import SHM_BYTES, TMP_BYTES

PROBE_SECONDS = 60.0
LABELS = {"purpose": "conformance"}
_MARKER = "EVOLVE_CONFORMANCE_MARKER"

_ORPHANS = """
import os, signal, sys, time
def beat(name):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        with open('/out/' + name, 'w') as out:
            out.write(str(time.monotonic_ns()))
        time.sleep(0.01)
for name in ('a', 'b', 'c'):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            beat(name)
        os._exit(0)
print('up', flush=True)
beat('main')
"""
_FORKS = """
import os, time
made = 0
for _ in range(400):
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    except OSError:
        break
    made += 1
print(made, flush=True)
os._exit(0)
"""
_FILE = "open('/out/big', 'wb').write(b'x' * (8 << 20)); print('written')"
_DISK = """
written = 0
for folder in ('/tmp', '/dev/shm', '/'):
    for number in range(1024):
        try:
            with open(f'{folder}/fill-{number}', 'wb') as out:
                written += out.write(bytes(1 << 20))
        except OSError:
            break
print(written)
"""
_FLOOD = """
for _ in range(32):
    print('x' * (1 << 20))
print('last words', flush=True)
"""
_DESCRIPTORS = "import os; kept = [os.dup(0) for _ in range(200)]; print('opened')"
_MEMORY = "kept = bytearray(512 << 20); kept[::4096] = b'x' * len(kept[::4096]); print('had it')"
_MEMORY_TREE = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        kept = bytearray(64 << 20)
        kept[::4096] = b'x' * len(kept[::4096])
        time.sleep(1.5)
        open('/out/held-%d' % os.getpid(), 'w').close()
        os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `severity` is what a failure means: `fatal` forbids use, `warning` is to
    be known, `info` takes nothing away."""

    name: str
    ok: bool
    detail: str
    severity: Literal["fatal", "warning", "info"] = "fatal"


def run_conformance(runtime: Runtime, home: Path) -> list[Finding]:
    """Try everything; a few seconds. Raises RuntimeBroken when not even a sandbox could be started."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home / "run", prefix="conformance-") as folder:
        return [
            *_ways_out(runtime, Path(folder)),
            *_orphans(runtime, Path(folder)),
            *_limits(runtime, Path(folder)),
        ]


def starts(runtime: Runtime) -> Finding:
    """The smallest thing: a sandbox starts, runs Python and ends. Raises RuntimeBroken (the line says
    why)."""
    spec = InstanceSpec(
        name=f"conformance-{secrets.token_hex(4)}",
        role="grader",
        argv=("python", "-I", "-S", "-c", "print('inside')"),
        labels=LABELS,
        workdir="/",
    )
    code, said = _run(runtime, spec)
    return Finding(
        "engine", code == 0 and said == "inside\n", f"{runtime.name}: a sandbox ran and ended with {code}"
    )


def _ways_out(runtime: Runtime, folder: Path) -> list[Finding]:
    found = []
    for name, host_tools in (("service", False), ("coder", True)):
        with _traps(folder) as told:
            spec = InstanceSpec(
                name=f"conformance-{secrets.token_hex(4)}",
                role="grader",
                argv=("python", "-I", "/probes.py", json.dumps(told)),
                mounts=(Mount(Path(probes.__file__), "/probes.py"),),
                labels=LABELS,
                limits=Limits(wall_seconds=PROBE_SECONDS),
                workdir="/",
                host_tools=host_tools,
            )
            lines = [json.loads(line) for line in _output(runtime, spec).splitlines() if line.startswith("{")]
        found += [Finding(f"{name}: {line['name']}", line["ok"], line["detail"]) for line in lines]
        if len(lines) < 30:
            found.append(Finding(f"{name}: probes", False, f"only {len(lines)} attempts reported back"))
    return found


@contextlib.contextmanager
def _traps(folder: Path) -> Iterator[dict[str, object]]:
    """On the host: listeners, a secret file, an inheritable descriptor and a variable, none of which may be
    reached."""
    secret = folder / "secret"
    secret.write_text("secret")
    abstract = f"evolve-conformance-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind("\0" + abstract)
        listener.listen()
        leaked = stack.enter_context(secret.open())
        os.set_inheritable(leaked.fileno(), True)
        os.environ[_MARKER] = "leaked"
        stack.callback(os.environ.pop, _MARKER, None)
        yield {
            "abstract": abstract,
            "addresses": ["127.0.0.1", *_own_addresses()],
            "hidden": {str(path): _identity(path) for path in _hidden_paths(secret)},
            "marker": _MARKER,
            "tcp_port": tcp.getsockname()[1],
        }


def _own_addresses() -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(
            {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        )
    return []


def _identity(path: Path) -> tuple[int, int] | None:
    """None: the host has none, so that there must be none inside either."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _hidden_paths(secret: Path) -> list[Path]:
    home = Path.home()
    fixed = [
        "/etc/shadow",
        "/etc/resolv.conf",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/var/lib",
        "/boot",
        "/sys",
        "/mnt",
    ]
    dotted = [home / name for name in (".ssh", ".bashrc", ".config", ".netrc", ".aws")]
    return [secret, Path.cwd() / "pyproject.toml", *dotted, *(Path(path) for path in fixed)]


def _orphans(runtime: Runtime, folder: Path) -> list[Finding]:
    out = _fresh(folder / "orphans")
    spec = _spec(_ORPHANS, out, Limits(wall_seconds=PROBE_SECONDS))
    instance = runtime.start(None, spec)
    try:
        deadline = time.monotonic() + PROBE_SECONDS
        while len(list(out.iterdir())) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        seen = runtime.stats(instance)["processes"]
        runtime.kill(instance)
        before = {path.name: path.read_text() for path in out.iterdir()}
        time.sleep(0.2)
        after = {path.name: path.read_text() for path in out.iterdir()}
        left = runtime.stats(instance)["processes"]
    finally:
        _discard(runtime, instance)
    ok = seen >= 4 and len(before) == 4 and before == after and left == 0
    return [
        Finding(
            "nothing survives a kill",
            ok,
            f"{seen} processes before, {left} after, files changed: {before != after}",
        )
    ]


def _limits(runtime: Runtime, folder: Path) -> Iterator[Finding]:
    out = _fresh(folder / "limits")
    forked = _output(runtime, _spec(_FORKS, out, Limits(processes=20, wall_seconds=30))).strip()
    yield Finding(
        "limit: processes",
        forked.isdecimal() and int(forked) <= 20,
        f"forked {forked or '?'} of 400, limit 20",
    )
    written = _output(runtime, _spec(_FILE, out, Limits(file_bytes=1 << 20)))
    size = (out / "big").stat().st_size if (out / "big").exists() else 0
    yield Finding(
        "limit: file size", "written" not in written and size <= 1 << 20, f"{size} bytes, limit {1 << 20}"
    )
    filled = _output(runtime, _spec(_DISK, out, Limits(wall_seconds=60))).strip()
    room = TMP_BYTES + SHM_BYTES
    yield Finding(
        "limit: disk in total",
        filled.isdecimal() and int(filled) <= room,
        f"filled {filled or '?'} bytes, room for {room}",
    )
    said = _output(runtime, _spec(_FLOOD, out, Limits(wall_seconds=60)), 4 * LOG_BYTES)
    detail = f"{len(said)} bytes of 32 MiB are kept, limit {LOG_BYTES}"
    yield Finding("limit: output", said.endswith("last words\n") and len(said) <= LOG_BYTES, detail)
    opened = _output(runtime, _spec(_DESCRIPTORS, out, Limits(open_files=64)))
    yield Finding("limit: open files", "opened" not in opened, "200 asked for, limit 64")
    spun, _ = _run(runtime, _spec("while True: pass", out, Limits(cpu_seconds=1, wall_seconds=30)))
    yield Finding("limit: cpu seconds", spun not in (0, 124), f"ended with {spun}, limit 1 s")
    waited, _ = _run(runtime, _spec("import time; time.sleep(60)", out, Limits(wall_seconds=0.3)))
    yield Finding("limit: wall seconds", waited == 124, f"ended with {waited}, limit 0.3 s")
    held = _output(runtime, _spec(_MEMORY, out, Limits(memory_bytes=128 << 20, wall_seconds=30)))
    yield Finding("limit: memory of a process", "had it" not in held, "512 MiB asked for, limit 128 MiB")
    _output(runtime, _spec(_MEMORY_TREE, out, Limits(memory_bytes=128 << 20, wall_seconds=30)))
    parts = len(list(out.glob("held-*")))
    detail = f"{parts} of 6 processes held 64 MiB at once, limit 128 MiB for all"
    yield Finding("limit: memory in total", parts < 4, detail, "warning")


def _spec(code: str, out: Path, limits: Limits) -> InstanceSpec:
    return InstanceSpec(
        name=f"conformance-{secrets.token_hex(4)}",
        role="grader",
        argv=("python", "-I", "-c", code),
        mounts=(Mount(out, "/out", writable=True),),
        labels=LABELS,
        limits=limits,
        workdir="/",
    )


def _fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _output(runtime: Runtime, spec: InstanceSpec, tail_bytes: int = 65536) -> str:
    return _run(runtime, spec, tail_bytes)[1]


def _run(runtime: Runtime, spec: InstanceSpec, tail_bytes: int = 65536) -> tuple[int, str]:
    instance = runtime.start(None, spec)
    try:
        code = instance.wait(PROBE_SECONDS + 10)
        if code is None:
            raise RuntimeBroken(f"{spec.name}: still running after its wall limit")
        return code, runtime.logs(instance, tail_bytes)
    finally:
        _discard(runtime, instance)


def _discard(runtime: Runtime, instance: Instance) -> None:
    runtime.kill(instance)
    runtime.remove(instance)


def failures(findings: list[Finding]) -> Mapping[str, str]:
    """Fatal findings that failed, name to detail."""
    return {found.name: found.detail for found in findings if not found.ok and found.severity == "fatal"}
