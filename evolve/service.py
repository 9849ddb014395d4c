"""The processes of an installation: what each is told, as files that this package writes and they only read.

edge, gateway and promoter are separate processes under a small supervisor; the agent is started by the promoter alone.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from containers.substrate import SubstrateManifest
from evidence.ledger import write_durably
from evolve.prices import prices
from evolve.settings import ConsentSection, Settings
from promote.edge import EdgeConfig
from promote.edges import EDGE_MODULES
from promote.policy import ConsentPolicy, Person
from promote.promoter import BakeFloor, load_config, policy_of, promoter_digest
from promote.settings import BAKE_FLOOR_SECONDS, BAKE_FLOOR_TURNS, Disk, IngressConfig, PromoterConfig
from trial.gateway import GatewayConfig, ToolServer, Upstream


@dataclass(frozen=True)
class Paths:
    """Where the running parts meet."""

    home: Path

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def gateway_folder(self) -> Path:
        return self.run / "gateway"

    @property
    def calls(self) -> Path:
        return self.home / "gateway" / "calls.jsonl"

    def config(self, part: str) -> Path:
        """What a process is told, in its own folder: in production each sees no other's."""
        folder = self.promoter_home if part == "promoter" else self.home / part
        return folder / "config.json"

    @property
    def promoter_home(self) -> Path:
        return self.home / "promote"

    @property
    def promoter_socket(self) -> Path:
        return self.promoter_home / "promoter.sock"

    @property
    def edge_control(self) -> Path:
        return self.home / "edge" / "control.sock"

    @property
    def edge_state(self) -> Path:
        return self.home / "edge" / "state.json"

    @property
    def inbox(self) -> Path:
        return self.home / "ingress" / "inbox.db"

    @property
    def promoter_ledger(self) -> Path:
        return self.promoter_home / "ledger.db"

    @property
    def swaps(self) -> Path:
        """Swap records, each beside its provenance."""
        return self.promoter_home / "swaps"

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints" / "promoter"

    @property
    def product_checkpoints(self) -> Path:
        return self.home / "checkpoints" / "product"

    @property
    def checkpoint_key(self) -> Path:
        return self.home / "keys" / "checkpoint.pem"


def upstream(settings: Settings) -> Upstream | None:
    """The model endpoint in the gateway's terms, or None where no live model is configured."""
    model = settings.model
    if not model.base_url:
        return None
    return Upstream(
        base_url=model.base_url,
        api_key_env=model.api_key_env or None,
        api_key_file=settings.home / model.api_key_file if model.api_key_file else None,
        prices=prices(model),
    )


def tool_servers(settings: Settings) -> dict[str, ToolServer]:
    return {
        name: ToolServer(
            command=(server.command, *server.args),
            env={key: value.get_secret_value() for key, value in server.env.items()},
            cwd=Path(server.cwd) if server.cwd else None,
        )
        for name, server in settings.tools.items()
    }


def service_environment(settings: Settings) -> dict[str, str]:
    """What the agent is told, in production and in trials alike."""
    return {"MODEL_NAME": settings.model.name, "TOOL_SERVERS": ",".join(sorted(settings.tools))}


def gateway_config(settings: Settings) -> GatewayConfig:
    paths = Paths(settings.home)
    return GatewayConfig(
        socket=paths.gateway_folder / "gateway.sock",
        mode="record",
        log=paths.calls,
        upstream=upstream(settings),
        servers=tool_servers(settings),
    )


def edge_config(settings: Settings, manifest: SubstrateManifest) -> EdgeConfig:
    paths = Paths(settings.home)
    return EdgeConfig(
        host=settings.edge.host,
        port=settings.edge.port,
        control=paths.edge_control,
        state_file=paths.edge_state,
        turn_paths=manifest.turn_paths,
        health_paths=(manifest.liveness, manifest.readiness, manifest.inflight),
        request_id_header=manifest.request_id_header,
    )


def ingress_config(settings: Settings, manifest: SubstrateManifest, port: int) -> IngressConfig:
    paths = Paths(settings.home)
    return IngressConfig(
        host=settings.inbox.host,
        port=port,
        database=paths.inbox,
        edge=settings.edge.kind,
        edge_control=paths.edge_control,
        edge_state=paths.edge_state,
        turn_path=manifest.turn_paths[0],
        request_id_header=manifest.request_id_header,
    )


def promoter_config(settings: Settings) -> PromoterConfig:
    paths = Paths(settings.home)
    return PromoterConfig(
        home=paths.promoter_home,
        checkpoints=paths.checkpoints,
        checkpoint_key=paths.checkpoint_key,
        socket=paths.promoter_socket,
        edge=settings.edge.kind,
        edge_control=paths.edge_control,
        edge_state=paths.edge_state,
        inbox=paths.inbox if settings.inbox.port is not None else None,
        runtime=settings.runtime,
        docker=settings.docker,
        runtime_home=settings.home,
        gateway_dir=paths.gateway_folder,
        environment=service_environment(settings),
        **_consent(settings.consent),
        disk=Disk(spare_bytes=settings.swap.disk_reserve_bytes),
        live=settings.live,
        hooks=settings.swap.hooks,
    )


def _consent(section: ConsentSection) -> dict[str, Any]:
    people = tuple(
        Person(name=name, public_key=person.public_key, roles=person.roles)
        for name, person in sorted(section.people.items())
    )
    solo, needed = section.policy == "solo", section.approvers_needed
    return {"people": people, "solo": solo, "approvers_needed": needed}


def tell_promoter(settings: Settings) -> None:
    """Who may approve now, for a promoter that was started when others might: it reads that anew each time."""
    path = Paths(settings.home).config("promoter")
    if not path.exists():
        return
    told = load_config(path)
    now = told.model_copy(update=_consent(settings.consent))
    if now != told:
        write_durably(path, now.model_dump_json(indent=1).encode())


def consent_policy(settings: Settings) -> ConsentPolicy:
    """What the promoter will ask, to be asked here first; its own answer counts."""
    floor = BakeFloor(BAKE_FLOOR_SECONDS, BAKE_FLOOR_TURNS)
    return policy_of(promoter_config(settings), floor, promoter_digest())


def write_configs(settings: Settings, manifest: SubstrateManifest) -> dict[str, tuple[str, ...]]:
    """Write every process's configuration; returns the argv of each, in the order of their start."""
    configs: dict[str, BaseModel] = {
        "gateway": gateway_config(settings),
        "edge": edge_config(settings, manifest),
        "promoter": promoter_config(settings),
    }
    modules = {
        "gateway": "trial.gateway",
        "edge": EDGE_MODULES[settings.edge.kind],
        "promoter": "promote.promoter",
        "ingress": "promote.ingress",
    }
    if settings.inbox.port is not None:
        configs["ingress"] = ingress_config(settings, manifest, settings.inbox.port)
    paths = Paths(settings.home)
    paths.gateway_folder.mkdir(parents=True, exist_ok=True)
    commands: dict[str, tuple[str, ...]] = {}
    for name, config in configs.items():
        path = paths.config(name)
        path.parent.mkdir(exist_ok=True)
        write_durably(path, config.model_dump_json(indent=1).encode())
        commands[name] = (sys.executable, "-m", modules[name], "--config", str(path))
    return commands
