"""The live installation: start and stop the supervisor, install the first image, see who is up."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

from evidence.ledger import write_durably
from evolve.errors import Broken, Refused
from evolve.product import Product
from evolve.service import write_configs
from promote.edge import Edge
from promote.edges import edge_at
from promote.haproxy_files import MISSING, REMEDY, find_haproxy
from promote.supervisor import Program, SupervisorConfig, read_status
from promote.wire import Unreachable

START_SECONDS = 60.0
POLL = 0.05


def start(product: Product, who: str, reason: str, progress: Callable[[str], None]) -> dict[str, object]:
    """Start what does not run; the first time, build and install the substrate's image. Returns the status.

    Raises Broken with the end of a log when something does not come up, Refused when something else keeps the processes.
    """
    if read_status(product.paths.run / "supervisor-status.json") is None:
        _require_own(product)
        _require_ports(product)
        _require_haproxy(product)
        progress("starting gateway, edge and promoter")
        _spawn(product)
    install(product, who, reason, progress)
    return status(product)


def install(product: Product, who: str, reason: str, progress: Callable[[str], None]) -> None:
    """Wait for the processes, whoever keeps them, and for the service; the first time, build and install its image. Raises
    Broken."""
    _wait(
        product,
        "the promoter does not come up",
        "promoter",
        lambda: product.ask_promoter(lambda p: p.status()),
    )
    if product.live_image() is None:
        progress("building the first image")
        image = product.build_main()
        progress("installing the first image")
        product.ask_promoter(lambda p: p.bootstrap(image.digest, None, who, reason))
        product.ledger.append("agent.installed", {"image": image.digest}, who=who, reason=reason)
    progress("waiting until the service answers")
    _wait(product, "the service does not become live", "promoter", lambda: _require_live(product))


def _require_own(product: Product) -> None:
    if _promoter_answers(product):
        raise Refused(
            "the processes run already, and not under our supervisor",
            hint="`make up` and `make down` keep them",
        )


def _promoter_answers(product: Product) -> bool:
    try:
        product.ask_promoter(lambda p: p.status())
    except Broken:
        return False
    return True


def _require_ports(product: Product) -> None:
    """Said before anything starts: what can't listen would only be started again and again."""
    edge, inbox = product.settings.edge, product.settings.inbox
    for name, host, port in (("edge", edge.host, edge.port), ("inbox", inbox.host, inbox.port or 0)):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise Broken(
                    f"can't listen on {host}:{port}: {error.strerror}",
                    hint=f"set {name}.port in evolve.toml, or stop what holds it",
                ) from None


def _require_haproxy(product: Product) -> None:
    if product.settings.edge.kind == "haproxy" and find_haproxy() is None:
        raise Broken(MISSING, hint=REMEDY)


def _spawn(product: Product) -> None:
    commands = write_configs(product.settings, product.manifest)
    logs = product.settings.home / "logs"
    key = product.settings.model.api_key_env
    secret = {key: os.environ[key]} if key and key in os.environ else {}
    config = SupervisorConfig(
        programs=tuple(
            Program(name=name, argv=argv, env=secret if name == "gateway" else {}, log=logs / f"{name}.log")
            for name, argv in commands.items()
        ),
        status=product.paths.run / "supervisor-status.json",
    )
    path = product.paths.run / "supervisor.json"
    write_durably(path, config.model_dump_json(indent=1).encode())
    with (logs / "supervisor.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "promote.supervisor", "--config", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def _wait(product: Product, complaint: str, log: str, ready: Callable[[], object]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            ready()
            return
        except Broken as error:
            if time.monotonic() > end:
                raise Broken(f"{complaint}: {error.message}", hint=_tail(product, log)) from None
            time.sleep(POLL)


def _require_live(product: Product) -> None:
    edge = _edge(product)
    try:
        found = edge.status()
    except Unreachable:
        raise Broken("the edge does not answer") from None
    if found.held or found.target is None:
        problem = product.ask_promoter(lambda p: p.status()).get("problem")
        raise Broken(f"the edge holds requests{f' ({problem})' if problem else ''}")


def _edge(product: Product) -> Edge:
    paths = product.paths
    return edge_at(product.settings.edge.kind, paths.edge_control, paths.edge_state)


def _tail(product: Product, name: str) -> str:
    path = product.settings.home / "logs" / f"{name}.log"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return f"{path} ends: {lines[-1][:300]}" if lines else f"see {path}"


def stop(product: Product, who: str, reason: str) -> bool:
    """Stop the agent and the promoter, and everything around them that is ours; False when nothing ran. Raises Refused
    while a swap is open."""
    supervisor = read_status(product.paths.run / "supervisor-status.json")
    if supervisor is None and not _promoter_answers(product):
        return False
    product.ask_promoter(lambda p: p.shutdown(True, who, reason))
    if supervisor is not None:
        _end(int(str(supervisor["pid"])))
    product.ledger.append("agent.stopped", {}, who=who, reason=reason)
    return True


def _end(supervisor: int) -> None:
    os.kill(supervisor, signal.SIGTERM)
    end = time.monotonic() + START_SECONDS
    while _alive(supervisor) and time.monotonic() < end:
        time.sleep(POLL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


def status(product: Product) -> dict[str, object]:
    """Processes, the live image, the open swap, the edge's address; `running` False when nothing is up. Processes that
    something else keeps are not listed."""
    supervisor = read_status(product.paths.run / "supervisor-status.json")
    if supervisor is None and not _promoter_answers(product):
        return {"running": False, "live_image": product.live_image()}
    promoter = product.ask_promoter(lambda p: p.status())
    edge, inbox = _edge(product).status(), product.settings.inbox
    return {
        "running": True,
        "url": edge.url,
        "inbox": f"http://{inbox.host}:{inbox.port}" if inbox.port else None,
        "held": edge.held,
        "inflight": edge.inflight,
        "parked": edge.parked,
        "live": promoter.get("lkg"),
        "previous": promoter.get("previous"),
        "open_swap": promoter.get("open"),
        "problem": promoter.get("problem"),
        "processes": supervisor["programs"] if supervisor else {},
    }
