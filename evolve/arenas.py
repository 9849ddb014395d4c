"""Arenas made from the settings: where a run, a seal or a rerun replays its cases."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    """An arena with live misses capped by `limits`, a run's own or the settings'; nothing of it is left afterwards.

    Raises BadInput when the model's price is unknown.
    """
    settings = product.settings
    limits = limits or settings.run
    require_price("model", settings.model)
    folder = settings.home / "run" / new_id()[-8:].lower()
    folder.mkdir(parents=True)
    config = GatewayConfig(
        socket=folder / "unused.sock",
        mode="live",
        upstream=upstream(settings),
        servers=tool_servers(settings),
        caps=Caps(micro_usd=round(limits.max_usd * 1e6), tokens=limits.max_tokens),
        meter=meter or folder / "meter.json",
    )
    try:
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
    finally:
        shutil.rmtree(folder, ignore_errors=True)
