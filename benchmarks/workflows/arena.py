"""Six live servers over one world, and one task after the other in it."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.workflows.programs import environment
from benchmarks.workflows.tasks import Task
from benchmarks.workflows.verify import Calls, complaints
from benchmarks.workflows.world import State, World
from workflows.callers import Recorder
from workflows.catalog import Catalog
from workflows.servers import Servers
from workflows.servers.file import read_servers
from workflows.servers.link import Limits

HERE = Path(__file__).parent
LEARNT = HERE / "learnt.json"
"""Types of the results of tools that do not declare them, learnt from the tune half's oracles (`python -m
benchmarks.workflows.learn_types`), so that every arm, seed and machine sees the same ports."""
SLEEPS = "everything/trigger-long-running-operation"
"""It only waits: nobody is shown it, for it would be measured instead of the arms."""
LIMITS = Limits(call_seconds=20.0)


@dataclass
class Episode:
    """One task in a fresh world."""

    task: Task
    before: State
    caller: Recorder
    """Keeps all calls, of all attempts."""
    _from: int = field(default=0)

    @property
    def calls(self) -> Calls:
        """Those since the world was last set up."""
        return self.caller.calls[self._from :]

    def begins_again(self) -> None:
        self._from = len(self.caller.calls)


class Arena:
    """An async context manager. Raises NotInstalled when it is entered without the servers."""

    def __init__(self, learnt: Mapping[str, Any] | None = None) -> None:
        self._learnt = json.loads(LEARNT.read_text()) if learnt is None else learnt
        self._stack = AsyncExitStack()
        self.catalog = Catalog()

    async def __aenter__(self) -> Self:
        self._world = World(Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="world-"))))
        root = self._world.root
        self._world.set_up({})
        data = json.loads((HERE / "servers.json").read_text())
        file = read_servers(data, root / "servers.json", environment(root))
        self.servers = await self._stack.enter_async_context(Servers(file, limits=LIMITS))
        found = await self.servers.catalog()
        failed = [f"{one.name}: {one.error}" for one in self.servers.health() if one.state != "ready"]
        if failed:
            await self._stack.aclose()
            raise RuntimeError(f"servers that do not run: {'; '.join(failed)}")
        tools = {key: spec for key, spec in found.tools.items() if key != SLEEPS}
        self.catalog = replace(found, tools=tools, learnt=self._learnt)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def begin(self, task: Task) -> Episode:
        self._world.set_up(task.setup)
        return Episode(task, self._world.state(), Recorder(self.servers.caller()))

    def put_back(self, episode: Episode) -> None:
        """The world as it was when the episode began; what was called before no longer counts."""
        self._world.set_up(episode.task.setup)
        episode.begins_again()

    def complaints(self, episode: Episode, answer: str | None) -> Sequence[str]:
        """What the verifier says of the world as it is now, the calls since it was set up, and the answer."""
        task = episode.task
        return complaints(task.verify, episode.before, self._world.state(), episode.calls, answer)
