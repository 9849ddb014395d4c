"""The edge as a process (`python -m promote.edge --config FILE`) and as the promoter sees it.

The embedded edge is our own HTTP relay on loopback. It is apart from the promoter, so that a killed
promoter holds no request hostage, and it writes gate and target to a file before it acknowledges them, so
that its own restart stays held.
"""

import argparse
import asyncio
import ipaddress
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evidence.canonical import new_id
from promote.gate import Caps, Gate, Target, TurnLog, TurnMark
from promote.relay import Relay
from promote.wire import MAX_LINE, address, call, complaint, encode

_HttpPath = Annotated[str, Field(pattern=r"^/[!-~]*$")]


class EdgeConfig(BaseModel):
    """What `--config` holds, as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """A loopback address: the edge speaks plain HTTP and asks nobody who they are."""
    port: int = Field(ge=0, le=65535)
    """0: any free port; `status` says which."""
    control: Path
    """Unix socket for the promoter."""
    state_file: Path
    turn_paths: tuple[_HttpPath, ...] = ("/v1/chat/completions",)
    health_paths: tuple[_HttpPath, ...] = ("/healthz", "/readyz", "/inflight")
    request_id_header: str = Field(default="x-request-id", pattern=r"^[A-Za-z0-9_-]+$")
    parked: int = Field(default=1000, ge=1)
    parked_body_bytes: int = Field(default=64 << 10, ge=1)
    hold_seconds: float = Field(default=60.0, gt=0)

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError("the embedded edge listens on loopback only; put your own front before it")
        return host


@dataclass(frozen=True)
class EdgeStatus:
    """What the edge is doing now. `boot` changes when it restarted; turn numbers start anew then."""

    boot: str
    host: str
    port: int
    held: bool
    target: Target | None
    inflight: int
    oldest_seconds: float
    parked: int

    @property
    def url(self) -> str:
        """Where requests arrive."""
        return f"http://{self.host}:{self.port}"


class Edge(Protocol):
    """What the promoter asks of whatever stands in front. Every call is level-wise: twice is once."""

    def hold(self) -> None: ...

    def release(self) -> float: ...

    def point_at(self, target: Target) -> None: ...

    def status(self) -> EdgeStatus: ...

    def turns(self, epoch: int, after: int) -> list[TurnMark]: ...


class EmbeddedEdge:
    """The edge process, through its control socket. Raises wire.Unreachable while it is down."""

    def __init__(self, control: Path) -> None:
        self._control = control

    def hold(self) -> None:
        call(self._control, "hold")

    def release(self) -> float:
        """Opens the gate; milliseconds that it was shut."""
        return float(str(call(self._control, "release")["held_ms"]))

    def point_at(self, target: Target) -> None:
        call(self._control, "point_at", **asdict(target))

    def status(self) -> EdgeStatus:
        answer = call(self._control, "status")
        target = answer.pop("target")
        fields: dict[str, object] = {
            **answer,
            "target": Target(**target) if isinstance(target, dict) else None,
        }
        return EdgeStatus(**fields)  # type: ignore[arg-type]

    def turns(self, epoch: int, after: int) -> list[TurnMark]:
        answer = call(self._control, "turns", epoch=epoch, after=after)
        rows = answer["turns"]
        assert isinstance(rows, list)
        return [TurnMark(*row) for row in rows]


class _Control:
    """Answers the promoter."""

    def __init__(self, gate: Gate, turns: TurnLog, host: str) -> None:
        self.gate, self.turns, self.host = gate, turns, host
        self.port = 0
        self.boot = new_id()

    async def link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(encode(self._answer(line)))
                await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            request = json.loads(line)
            op = request.pop("op")
        except (ValueError, KeyError, AttributeError, TypeError):
            return {"error": "not a request", "kind": "usage"}
        gate = self.gate
        try:
            if op == "hold":
                gate.hold()
                return {"held": True}
            if op == "release":
                return {"held_ms": gate.release()}
            if op == "point_at":
                gate.point_at(Target(**request))
                return {"target": request}
            if op == "turns":
                found = self.turns.since(int(request["epoch"]), int(request["after"]))
                return {"turns": [[mark.seq, mark.epoch, mark.status, mark.ms] for mark in found]}
            if op == "status":
                return self._status()
        except OSError as error:
            return {"error": f"the gate's state could not be kept: {error}", "kind": "environment"}
        except (TypeError, ValueError, KeyError) as error:
            return {"error": f"{op}: {error}", "kind": "usage"}
        return {"error": f"no such operation: {op}", "kind": "usage"}

    def _status(self) -> dict[str, object]:
        gate = self.gate
        return {
            "boot": self.boot,
            "host": self.host,
            "port": self.port,
            "held": gate.held,
            "target": asdict(gate.target) if gate.target else None,
            "inflight": gate.inflight,
            "oldest_seconds": gate.oldest_seconds(),
            "parked": gate.parked,
        }


async def serve(config: EdgeConfig) -> None:
    """Until SIGTERM. Raises OSError when the address is taken."""
    caps = Caps(config.parked, config.parked_body_bytes, config.hold_seconds)
    config.state_file.parent.mkdir(parents=True, exist_ok=True)
    gate, turns = Gate(config.state_file, caps), TurnLog()
    relay = Relay(
        gate,
        turns,
        caps,
        turn_paths=frozenset(config.turn_paths),
        health_paths=frozenset(config.health_paths),
        request_id_header=config.request_id_header,
    )
    control = _Control(gate, turns, config.host)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    front = await asyncio.start_server(relay.client, config.host, config.port, backlog=2048)
    control.port = front.sockets[0].getsockname()[1]
    config.control.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    config.control.unlink(missing_ok=True)
    with address(config.control) as name:
        back = await asyncio.start_unix_server(control.link, name, limit=MAX_LINE)
    async with back:
        await stop.wait()
        front.close()
        for _ in range(500):
            if not gate.inflight and not gate.parked:
                break
            await asyncio.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(prog="promote.edge", description="HTTP relay with a gate")
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    try:
        config = EdgeConfig.model_validate_json(path.read_bytes())
        asyncio.run(serve(config))
    except ValidationError as error:
        print(f"{path}: {complaint(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"edge: {complaint(error)}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
