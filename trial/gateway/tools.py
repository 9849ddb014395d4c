"""The stdio tool servers of one gateway and what discovery on them answered."""

import asyncio
from collections.abc import Mapping

from trial.gateway import rpc
from trial.gateway.child import ServerGone, ToolChild
from trial.gateway.config import ToolServer
from trial.gateway.meter import Cost, Meter, OverBudget


class ToolSource:
    """Made and used inside one event loop."""

    def __init__(self, servers: Mapping[str, ToolServer], meter: Meter, max_message: int) -> None:
        self._children = {name: ToolChild(name, spec, max_message) for name, spec in servers.items()}
        self._meter = meter
        self.catalog: dict[str, object] = {}
        """Server -> method (`?cursor=` for later pages) -> result, as `Cassette.catalog` keeps it."""

    @property
    def names(self) -> list[str]:
        return list(self._children)

    async def warm(self) -> None:
        """Start every server now, so that no turn pays for it."""
        await asyncio.gather(*(child.ensure() for child in self._children.values()), return_exceptions=True)

    async def ask(self, server: str, message: rpc.Message) -> tuple[dict[str, object], bool]:
        """(`{"result"|"error"}`, whether the error is ours and not the server's)."""
        child = self._children[server]
        try:
            if message.method == "initialize":
                await child.ensure()
                return {"result": child.initialized}, False
            if message.method not in rpc.DISCOVERY:
                self._meter.reserve(Cost(calls=1))
            return await child.request(message.method, rpc.forwarded_params(message.params)), False
        except ServerGone as error:
            return rpc.error(rpc.SERVER_GONE, str(error)), True
        except OverBudget as error:
            return rpc.error(rpc.REFUSED, str(error)), True

    def learn(self, server: str, message: rpc.Message, answer: dict[str, object]) -> bool:
        """Keep a discovery answer; True when the catalog changed."""
        if message.method not in rpc.DISCOVERY or "result" not in answer:
            return False
        known = self.catalog.get(server)
        entry = dict(known) if isinstance(known, dict) else {}
        key = rpc.catalog_key(message)
        if entry.get(key) == answer["result"]:
            return False
        entry[key] = answer["result"]
        self.catalog[server] = entry
        return True

    async def close(self) -> None:
        await asyncio.gather(*(child.close() for child in self._children.values()))
