"""What HAProxy reads at its start, made from the edge's configuration and the state that it shall come back to."""

import os
import resource
import shutil
import subprocess
from pathlib import Path
from string import Template

from evidence.canonical import new_id
from evidence.ledger import sync_folder, write_durably
from promote.edge import EdgeConfig
from promote.gate import GateState, Target

FILES = Path(__file__).with_name("files")
MISSING = "haproxy is not installed"
REMEDY = "as root: apt-get install haproxy; or set edge.kind to embedded"
_MAX_BODY = 16 << 20
_ROOM_FOR_HEADERS = 32 << 10
_ELSEWHERE = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where system packages put it, and ordinary users' PATH often does not lead."""


class HAProxyUnusable(Exception):
    """No HAProxy here, or one that does not take the configuration."""


def find_haproxy() -> str | None:
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:{_ELSEWHERE}")


def write_files(config: EdgeConfig, listener: int, port: int) -> Path:
    """haproxy.cfg, gate.lua, gate.map and the link to the live socket, beside the state file. Returns their folder.

    All names in them are relative to it: a unix socket's path may have 107 bytes, wherever the folder lies.
    """
    folder = config.state_file.parent
    folder.mkdir(parents=True, exist_ok=True)
    config.control.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    state = GateState.load(config.state_file)
    if state.target is not None:
        point(folder, state.target)
    epoch = state.target.epoch if state.target else 0
    write_durably(folder / "gate.map", f"hold {int(state.held)}\nepoch {epoch}\n".encode())
    write_durably(folder / "gate.lua", (FILES / "gate.lua").read_bytes())
    write_durably(folder / "haproxy.cfg", _rendered(config, listener, port).encode())
    return folder


def point(folder: Path, target: Target) -> None:
    """Make live.sock lead to the target's socket, at once and durably."""
    fresh = folder / f".live.sock.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.socket)
    os.replace(fresh, folder / "live.sock")
    sync_folder(folder)


def checked(folder: Path, listener: int) -> str:
    """The binary, once it has taken the configuration. Raises HAProxyUnusable with HAProxy's own first complaint."""
    binary = find_haproxy()
    if binary is None:
        raise HAProxyUnusable(f"{MISSING}; {REMEDY}")
    argv = [binary, "-c", "-f", "haproxy.cfg"]
    tried = subprocess.run(
        argv, cwd=folder, pass_fds=(listener,), capture_output=True, text=True, check=False
    )
    if tried.returncode:
        complaints = [line for line in tried.stderr.splitlines() if "[ALERT]" in line] or ["no reason given"]
        raise HAProxyUnusable(f"{folder / 'haproxy.cfg'}: {complaints[0]}")
    return binary


def _rendered(config: EdgeConfig, listener: int, port: int) -> str:
    connections = _connections(config.parked)
    return Template((FILES / "haproxy.cfg").read_text(encoding="utf-8")).substitute(
        control=_quoted(os.path.relpath(config.control, config.state_file.parent)),
        all_connections=2 * connections + 16,
        connections=connections,
        buffer=config.parked_body_bytes + _ROOM_FOR_HEADERS,
        boot=new_id(),
        host=config.host,
        port=port,
        listener=listener,
        hold_seconds=config.hold_seconds,
        parked=config.parked,
        parked_body_bytes=config.parked_body_bytes,
        max_body=_MAX_BODY,
        id_header=config.request_id_header,
        health_paths=" ".join(map(_quoted, config.health_paths)),
        turn_paths=" ".join(map(_quoted, config.turn_paths)),
    )


def _connections(parked: int) -> int:
    """Of users: as many again as may wait, at least a thousand, where so many files may be open. Each costs up to four, two
    in each of the two passes; one that waits, or sends slowly, a buffer of memory."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    possible = files // 4 - 100
    if possible < 100:
        raise HAProxyUnusable(
            f"HAProxy may open {files} files here, at least 800 are needed: raise 'ulimit -n'"
        )
    return min(max(2 * parked, 1000), possible)


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\{char}" if char in '\\"$' else char for char in text) + '"'
