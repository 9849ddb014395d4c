"""What a model says to a search: a plan to begin with, edits of what is best so far, another design."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from evolve.workflow_task import Task
from workflows.catalog import Catalog
from workflows.codec import to_json
from workflows.graph import Workflow
from workflows.model import ChatModel
from workflows.plan import PlanError, to_plan
from workflows.planner import Failure, Planner, PlannerFailed
from workflows.searching.fitness import Fitness, Spending
from workflows.searching.model_edits import ask_for_edits
from workflows.searching.population import Tried
from workflows.searching.terms import Proposal
from workflows.signature import shown_type


class Advice:
    """An answer that is none is no proposal; its tokens count all the same."""

    def __init__(self, task: Task, chat: ChatModel, catalog: Callable[[], Catalog]) -> None:
        """`catalog`: as it is known now, for runs teach types."""
        self._task, self._chat, self._catalog, self._asked = task, chat, catalog, 0
        given = ", ".join(f"{{inputs.{name}}}: {shown_type(kind)}" for name, kind in task.input_types.items())
        self._request = f"{task.request}\nGiven: {given}" if given else task.request

    async def plan(self) -> Sequence[Workflow]:
        return (await self._proposal(self._planned(None))).workflows

    async def edits(self, best: Tried) -> Proposal:
        return await self._proposal(self._edited(best))

    async def design(self, history: Sequence[Tried]) -> Proposal:
        """With the best that there was, what became of it, and what became of others."""
        last = None
        if history:
            best, others = history[0], history[1:]
            tried = [
                f"{', '.join(sorted(one.workflow.tools))}: {line}"
                for one in others
                for line in _came(one.fitness)[:1]
            ]
            last = Failure(
                _written(best.workflow), [*_came(best.fitness), *(f"also tried {line}" for line in tried)]
            )
        return await self._proposal(self._planned(last))

    async def _proposal(self, asked: Awaitable[Workflow]) -> Proposal:
        before = self._chat.tokens
        try:
            found = [replace(await asked, inputs=self._task.input_types)]
        except PlannerFailed:
            found = []
        return Proposal(found, Spending(0, self._chat.tokens - before))

    async def _planned(self, last: Failure | None) -> Workflow:
        self._asked += 1
        planner = Planner(self._chat, self._catalog())
        return (await planner.plan(self._request, last=last, seed=self._asked)).workflow

    async def _edited(self, best: Tried) -> Workflow:
        catalog, errors = self._catalog(), _came(best.fitness)
        return (await ask_for_edits(self._chat, catalog, self._request, best.workflow, errors)).workflow


def _came(fitness: Fitness) -> list[str]:
    return [*(f"{name}: {error}" for name, error in fitness.failures), *fitness.complaints]


def _written(workflow: Workflow) -> str:
    try:
        return json.dumps(to_plan(workflow), ensure_ascii=False)
    except PlanError:
        return json.dumps(to_json(workflow), ensure_ascii=False)
