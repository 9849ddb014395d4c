"""Where candidates of a search run: each case from the state that was there at the beginning, and judged when it is over."""

from collections import Counter
from pathlib import Path
from statistics import fmean

from evolve.workflow_task import Case, Task
from evolve.workflow_verify import verified
from workflows.callers import Checked, Counted, Recorder
from workflows.catalog import Catalog
from workflows.check import leaves_something
from workflows.engine import run
from workflows.graph import Workflow, calls
from workflows.mending import mend
from workflows.model import ChatModel
from workflows.searching.fitness import TOKENS_A_CALL, Fitness, Spending, coverage, grounding, longest_chain
from workflows.searching.untouched import Untouched
from workflows.servers import Servers


class Stage:
    def __init__(
        self,
        task: Task,
        folder: Path,
        servers: Servers,
        catalog: Catalog,
        chat: ChatModel | None,
        max_tool_calls: int | None,
        parallel: int,
    ) -> None:
        self.catalog = catalog
        self._task, self._folder, self._servers, self._chat = task, folder, servers, chat
        self._parallel, self._needed = parallel, needed(task, catalog)
        self._counted = Counted(servers.caller(model=chat.ask if chat else None), max_tool_calls)
        reads = {key for key, spec in catalog.tools.items() if spec.effect == "read"}
        self._caller = Untouched(self._counted, reads.__contains__)

    @property
    def tool_calls(self) -> int:
        return self._counted.tool_calls

    @property
    def reads_saved(self) -> int:
        return self._caller.saved

    async def evaluate(self, workflow: Workflow) -> Fitness:
        """Raises callers.Spent, BadInput, StateError."""
        calls_before, tokens_before = self.tool_calls, self._tokens
        each = [await self._judged(workflow, case) for case in self._task.all_cases]
        learnt = (await self._servers.catalog()).learnt
        self.catalog = self.catalog.with_learnt(learnt)
        return Fitness(
            fmean(one.completion for one in each),
            fmean(one.coverage for one in each),
            fmean(one.grounding for one in each),
            fmean(one.cost for one in each),
            fmean(one.latency for one in each),
            failures=tuple(dict(pair for one in each for pair in one.failures).items()),
            complaints=tuple(dict.fromkeys(line for one in each for line in one.complaints)),
            learnt=learnt,
            spent=Spending(self.tool_calls - calls_before, self._tokens - tokens_before),
        )

    async def put_back(self) -> None:
        """Raises StateError."""
        if self._caller.touched:
            await self._servers.reset()
            self._caller.touched = False

    @property
    def _tokens(self) -> int:
        return self._chat.tokens if self._chat else 0

    async def _judged(self, workflow: Workflow, case: Case) -> Fitness:
        await self.put_back()
        tokens = self._tokens
        recorder = Recorder(self._caller)
        result = await run(workflow, case.inputs, Checked(recorder, self.catalog), limit=self._parallel)
        verdict = await verified(case.verify, result.text, recorder.calls, self._folder)
        return Fitness(
            verdict.share,
            coverage(self._needed, workflow, result),
            grounding(workflow, result),
            len(recorder.calls) + (self._tokens - tokens) / TOKENS_A_CALL,
            longest_chain(workflow, result),
            tuple((record.node, record.error or "") for record in result.failures),
            verdict.complaints,
        )


def needed(task: Task, catalog: Catalog) -> list[str]:
    """Tools, as often as they have to be called: those that the verifiers name, and with which the start changes things."""
    start = task.begin_with()
    steps = mend(start, catalog, task.request).workflow.nodes if start else ()
    changing = Counter(
        call.tool
        for node in steps
        if leaves_something(node, catalog)
        for place, call in calls(node)
        if not place
    )
    named = Counter[str]()
    for case in task.all_cases:
        named |= Counter(call.tool for call in case.verify.calls)
    return sorted((changing | named).elements())
