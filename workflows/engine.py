"""Runs a checked workflow: every step whose needs are met starts at once, its calls under a limit."""

import asyncio
from collections import deque
from collections.abc import Mapping

from workflows.calling import Caller, ToolRequest
from workflows.compiled import Compiled, Step, compiled
from workflows.graph import INPUTS, ToolNode, Workflow
from workflows.record import NodeRecord, WorkflowResult
from workflows.steps import Course, is_local, performed, settled, skipped
from workflows.values import Missing, read_all


async def run(
    workflow: Workflow | Compiled, inputs: Mapping[str, object], caller: Caller, *, limit: int = 8
) -> WorkflowResult:
    """Run it to the end. A step that is not done skips those that need it; the others go on. What the caller raises
    ends the run; cancelled, no call is left under way. Raises WorkflowError."""
    ready = workflow if isinstance(workflow, Compiled) else compiled(workflow)
    return await _Run(ready, inputs, caller, limit).result()


class _Run:
    def __init__(self, ready: Compiled, inputs: Mapping[str, object], caller: Caller, limit: int) -> None:
        self._steps, self._output = ready.steps, ready.output
        self._course = Course(caller, asyncio.Semaphore(limit), {INPUTS: dict(inputs)})
        self._waits = [step.waits for step in ready.steps]
        self._records: list[NodeRecord | None] = [None] * len(ready.steps)
        self._left = len(ready.steps)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def result(self) -> WorkflowResult:
        try:
            first = self._begin([step for step in self._steps if step.waits == 0])
            if first is not None:
                self._spawn(first)
            await self._over
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
        records = tuple(record for record in self._records if record is not None)
        text = records[self._output].value if records[self._output].state == "done" else None
        return WorkflowResult(text if isinstance(text, str) else None, records)

    def _begin(self, ready: list[Step]) -> Step | None:
        """Settle what needs no call, and start what does, but for one step, which is returned: a task may go on with it
        itself."""
        waiting, kept = deque(ready), None
        while waiting:
            step = waiting.popleft()
            record = skipped(step, self._course)
            if record is None and is_local(step):
                record = settled(step, self._course)
            if record is not None:
                waiting.extend(self._finish(step, record))
            elif kept is None:
                kept = step
            else:
                self._spawn(step)
        return kept

    def _spawn(self, step: Step) -> None:
        task = asyncio.create_task(self._perform(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _perform(self, first: Step) -> None:
        step: Step | None = first
        try:
            while step is not None:
                record = await (self._plain(step) if step.plain else performed(step, self._course))
                step = self._begin(self._finish(step, record))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            if not self._over.done():
                self._over.set_exception(error)

    async def _plain(self, step: Step) -> NodeRecord:
        """A tool step with nothing around its call, as most are."""
        node, course = step.node, self._course
        assert isinstance(node, ToolNode)
        try:
            arguments = read_all(step.takes, course.values)
        except Missing as missing:
            return NodeRecord(step.id, "failed", error=str(missing))
        async with course.slots:
            value, error, _ = await course.caller.tool(ToolRequest(step.id, "", 1, node.tool, arguments))
        return NodeRecord(step.id, "done" if error is None else "failed", arguments, value, error, 1)

    def _finish(self, step: Step, record: NodeRecord) -> list[Step]:
        """Keep the record; the steps that can start now."""
        self._records[step.index] = record
        self._course.states[step.id] = record.state
        if record.state == "done":
            self._course.values[step.id] = record.value
        free, waits = [], self._waits
        for follower in step.followers:
            waits[follower] -= 1
            if waits[follower] == 0:
                free.append(self._steps[follower])
        self._left -= 1
        if self._left == 0 and not self._over.done():
            self._over.set_result(None)
        return free
