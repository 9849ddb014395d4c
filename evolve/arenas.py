"""Arenas made from the settings: where a run, a seal or a rerun replays its cases."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from containers.reaper import reap
from containers.substrate import SubstrateManifest
from evidence.canonical import new_id
from evolve.prices import require_price
from evolve.product import Product
from evolve.service import tool_servers, upstream
from evolve.settings import RunSection
from trial.arena import Arena
from trial.gateway import Caps, GatewayConfig


@contextmanager
def open_arena(
    product: Product,
    manifest: SubstrateManifest,
    limits: RunSection | None = None,
    meter: Path | None = None,
    workers: int | None = None,
) -> Iterator[Arena]:
    """An arena with live misses capped by `limits`, a run's own or the settings'; nothing of it is left afterwards, nor of
    one whose process was killed.

    Raises BadInput when the model's price is unknown.
    """
    settings = product.settings
    limits = limits or settings.run
    require_price("model", settings.model)
    reap(product.runtime)
    with _work_folder(settings.home / "run") as folder:
        config = GatewayConfig(
            socket=folder / "unused.sock",
            mode="live",
            upstream=upstream(settings),
            servers=tool_servers(settings),
            caps=Caps(micro_usd=limits.max_micro_usd, tokens=limits.max_tokens),
            meter=meter or folder / "meter.json",
        )
        with Arena(
            product.runtime,
            manifest,
            workdir=folder,
            gateway_config=config,
            tool_servers=sorted(settings.tools),
            workers=workers or limits.workers,
            model_name=settings.model.name,
            redact=product.redactor.text,
        ) as arena:
            yield arena


@contextmanager
def _work_folder(parent: Path) -> Iterator[Path]:
    """A folder with a short name, for sockets lie in it; locked while it is in use. Those that nobody uses are cleared."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"a-{new_id()[-6:].lower()}"
    with ExitStack() as stack:
        with _lock(parent):  # or a new folder could be cleared before it is locked
            for old in parent.glob("a-*"):
                with suppress(BlockingIOError), _lock(old, fcntl.LOCK_NB):
                    shutil.rmtree(old, ignore_errors=True)
            folder.mkdir()
            stack.enter_context(_lock(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path, how: int = 0) -> Iterator[None]:
    """Ends with this process, whatever happens to it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(handle)
