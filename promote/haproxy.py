"""HAProxy as the edge: `python -m promote.haproxy --config FILE` becomes it, `HAProxyEdge` is how the promoter sees it.

The promoter alone writes gate and target: first to the state file, then to the running HAProxy. At every start
HAProxy's own files are made from that state, so that one that was killed comes back shut, or pointing right.
"""

import argparse
import json
import os
import socket
import sys
from pathlib import Path

from pydantic import ValidationError

from promote.edge import EdgeConfig, EdgeStatus
from promote.gate import GateState, Target, TurnMark
from promote.haproxy_files import HAProxyUnusable, checked, point, write_files
from promote.wire import Refused, Unreachable, address, complaint

_TURNS_AT_ONCE = 5000


class HAProxyEdge:
    """The edge through HAProxy's admin socket. Raises wire.Unreachable while it is down, wire.Refused when it won't."""

    def __init__(self, control: Path, state_file: Path) -> None:
        self._control, self._file = control, state_file

    def hold(self) -> None:
        state = GateState.load(self._file)
        state.hold()
        state.save(self._file)
        self._set("hold", "1")

    def release(self) -> float:
        """Opens the gate; milliseconds that it was shut."""
        state = GateState.load(self._file)
        shut = state.release()
        state.save(self._file)
        self._set("hold", "0")
        return shut

    def point_at(self, target: Target) -> None:
        state = GateState.load(self._file)
        state.target = target
        state.save(self._file)
        point(self._file.parent, target)
        self._set("epoch", str(target.epoch))

    def status(self) -> EdgeStatus:
        """The target is None until the running HAProxy was told what the state file says: point again."""
        answer = self._ask("edge status")
        try:
            said = json.loads(answer)
        except ValueError:
            raise Unreachable(f"{self._control}: whoever answers there is not our HAProxy") from None
        target = GateState.load(self._file).target
        epoch = said.pop("epoch")
        return EdgeStatus(**said, target=target if target is not None and target.epoch == epoch else None)

    def turns(self, epoch: int, after: int) -> list[TurnMark]:
        found: list[TurnMark] = []
        for line in reversed(self._ask("show events turns").splitlines()):
            mark = mark_of(line)
            if mark is None:
                continue
            if mark.seq <= after:
                break
            if mark.epoch == epoch:
                found.append(mark)
        return found[: -_TURNS_AT_ONCE - 1 : -1]

    def _set(self, key: str, value: str) -> None:
        if complaint := self._ask(f"set map gate.map {key} {value}").strip():
            raise Refused(f"HAProxy did not set {key}: {complaint}", "environment")

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(10.0)
                with address(self._control) as name:
                    link.connect(name)
                link.sendall(command.encode() + b"\n")
                return b"".join(iter(lambda: link.recv(1 << 18), b"")).decode()
        except OSError as error:
            raise Unreachable(f"{self._control}: {error}") from None


def mark_of(line: str) -> TurnMark | None:
    """One line of HAProxy's log: number, epoch, milliseconds, status, how it ended. None for what is no turn, or nobody's
    failure.

    How it ended begins with "-" when all went well, with C or c when the client left, and is SC when there was no
    connection: nobody listened, or too many stood at the service's socket already. Else the reply was cut. 425 is what our
    own file answers when the service did not.
    """
    words = line.split()
    if len(words) != 5:
        return None
    seq, epoch, ms, status, end = words
    if end[0] in "Cc" or end == "SC":
        return None
    whole = end[0] == "-" and status != "425"
    return TurnMark(int(seq), int(epoch), int(status) if whole else 0, float(ms))


def listen(host: str, port: int) -> socket.socket:
    """The users' socket, for HAProxy to inherit. Raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    front = socket.socket(family, socket.SOCK_STREAM)
    front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    front.bind((host, port))
    front.set_inheritable(True)
    return front


def main() -> int:
    parser = argparse.ArgumentParser(prog="promote.haproxy", description="HAProxy with a gate")
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    try:
        config = EdgeConfig.model_validate_json(path.read_bytes())
        front = listen(config.host, config.port)
        folder = write_files(config, front.fileno(), front.getsockname()[1])
        binary = checked(folder, front.fileno())
        os.chdir(folder)
        os.execv(binary, [binary, "-db", "-f", "haproxy.cfg"])
    except ValidationError as error:
        print(f"{path}: {complaint(error)}", file=sys.stderr)
        return 2
    except HAProxyUnusable as error:
        print(f"edge: {error}", file=sys.stderr)
        return 5
    except OSError as error:
        print(f"edge: {complaint(error)}", file=sys.stderr)
        return 5


if __name__ == "__main__":
    sys.exit(main())
