"""A request done with tools: drafts are asked for until they agree, brought together, repaired, and run; what fails is tried
otherwise, and asked for again."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.callers import Carried, Checked, Counted, Recorder, Spent
from workflows.calling import Caller
from workflows.catalog import Catalog
from workflows.check import leaves_something
from workflows.codec import digest
from workflows.compiled import WorkflowError
from workflows.edits import Rename, RunAfter, told
from workflows.engine import run
from workflows.graph import ToolNode, Workflow
from workflows.grounding import Request
from workflows.learn import learn
from workflows.mending import mend
from workflows.model import Asked, ModelFailed
from workflows.plan import PlanError, from_plan
from workflows.planner import SCHEMA, Failure, messages, shown_tools
from workflows.record import WorkflowResult
from workflows.solving.agree import agree
from workflows.solving.coverage import undone, unused
from workflows.solving.drafts import Draft, read_draft
from workflows.solving.refusals import Refusal, Refused, argument

TOOLS = 6
"""Shown at a time: few, for a request is about a few, and each costs in every question."""
MOST_TOKENS = 1024
NO_PLAN = "the answer is no plan"
FRUITLESS = 3
"""Answers from which no step comes: then the request is not about tools, or the planner not for it."""


@dataclass(frozen=True)
class Limits:
    """No more is spent; what is being made is run when the drafts or the tokens are used up."""

    drafts: int = 8
    tokens: int = 10_000
    tool_calls: int = 30
    runs: int = 4
    doubted_writes: bool = True
    """Whether, when all is used up, a workflow is run that changes something and about which there are doubts."""


LIMITS = Limits()


@dataclass
class Tried:
    """One workflow that was made, and what became of it."""

    workflow: Workflow
    plan: Any
    drafts: int
    """So many had been asked for."""
    doubts: tuple[str, ...]
    guessed: Refused
    chosen: Mapping[str, Refusal]
    """By step: what refuses its tool in its place."""
    ran: bool = False
    result: WorkflowResult | None = None
    """None: it was not run, or not to its end."""


@dataclass
class Solved:
    text: str | None = None
    workflow: Workflow | None = None
    said: list[str] = field(default_factory=list)
    """What the planner wrote."""
    tried: list[Tried] = field(default_factory=list)
    tool_calls: int = 0
    tokens: int = 0


async def solve(
    request: str,
    model: Asked,
    catalog: Catalog,
    caller: Caller,
    *,
    limits: Limits = LIMITS,
    again: Callable[[], None] | None = None,
) -> Solved:
    """`again` puts back what a run that failed has changed. Without it a run that changed something is the last one."""
    return await _Solving(request, model, catalog, caller, limits, again).solved()


class _Solving:
    def __init__(
        self,
        request: str,
        model: Asked,
        catalog: Catalog,
        caller: Caller,
        limits: Limits,
        again: Callable[[], None] | None,
    ) -> None:
        self.request, self.model, self.catalog = request, model, catalog
        self.limits, self.again = limits, again
        self.asked = Request(request, catalog)
        self.counted = Counted(Checked(caller, catalog), limits.tool_calls)
        self.caller = Recorder(self.counted)
        self.shown = shown_tools(catalog, request, TOOLS)
        self.drafts: list[Draft] = []
        self.found = Solved()
        self.refused: Refused = frozenset()
        self.runs, self.before = 0, model.tokens

    async def solved(self) -> Solved:
        last: Failure | None = None
        for number in range(self.limits.drafts):
            said = await self._said(last, number)
            draft = read_draft(said, self.catalog)
            last = None if draft.answer is not None else Failure(said, [NO_PLAN])
            if draft.steps:
                self.drafts.append(draft)
            over = number == self.limits.drafts - 1 or self._spent() >= self.limits.tokens
            over = over or (number + 1 >= FRUITLESS and not self.drafts)
            if self.drafts and await self._attempts(over):
                break
            if over:
                break
        self.found.tool_calls, self.found.tokens = self.counted.tool_calls, self._spent()
        return self.found

    def _spent(self) -> int:
        return self.model.tokens - self.before

    async def _said(self, last: Failure | None, number: int) -> str:
        """Also what it began and was cut off; empty where there is no answer."""
        question = messages(self.request, self.shown, self.catalog, last)
        try:
            said = (
                await self.model.complete(question, schema=SCHEMA, max_tokens=MOST_TOKENS, seed=number)
            ).text
        except ModelFailed as error:
            said = error.text
        self.found.said.append(said)
        return said

    async def _attempts(self, last: bool) -> bool:
        """Run what the drafts come to; what fails, with another guess in its place. Whether it is done, or has to be
        left."""
        while True:
            tried = self._made()
            if tried is None:
                return False
            known = {digest(one.workflow) for one in self.found.tried if one.result is not None}
            self.found.tried.append(tried)
            if (tried.doubts and not last) or digest(tried.workflow) in known:
                return False
            if self.runs >= self.limits.runs or (tried.doubts and not self._may_be_doubted(tried.workflow)):
                return True
            if not await self._run(tried):
                return True
            failed = tried.result.failures if tried.result else ()
            if not failed:
                return True
            at_fault = self._at_fault(tried)
            if not at_fault - self.refused:
                return False
            self.refused |= at_fault

    def _may_be_doubted(self, workflow: Workflow) -> bool:
        changes = any(leaves_something(node, self.catalog) for node in workflow.nodes)
        return self.limits.doubted_writes or not changes

    def _made(self) -> Tried | None:
        """None: it can't be written as a workflow."""
        agreed = agree(self.drafts, self.catalog, self.asked, self.refused)
        try:
            mended = mend(from_plan(agreed.plan), self.catalog, self.request)
        except PlanError:
            return None
        doubts = [
            *agreed.doubts,
            *map(str, mended.left),
            *(told(edit) for edit in mended.edits if not isinstance(edit, RunAfter | Rename)),
            *(f"nobody takes {value}" for value in unused(mended.workflow, self.asked)),
        ]
        if len(self.drafts) == 1:
            doubts += [f"no step for: {part}" for part in undone(mended.workflow, self.catalog, self.asked)]
        asked = len(self.found.said)
        return Tried(mended.workflow, agreed.plan, asked, tuple(doubts), agreed.guessed, agreed.chosen)

    async def _run(self, tried: Tried) -> bool:
        """Whether there may be another run."""
        if self.runs and self.again is not None:
            self.again()
        self.runs, tried.ran = self.runs + 1, True
        begun = len(self.caller.calls)
        try:
            tried.result = await run(tried.workflow, {}, self._carrying())
        except Spent:
            return False
        except WorkflowError:
            return True
        self._learn(tried)
        if tried.result.text is not None or self.found.text is None:
            self.found.text, self.found.workflow = tried.result.text, tried.workflow
        made = [request.tool for request, _ in self.caller.calls[begun:]]
        changed = any((spec := self.catalog.get(tool)) is None or spec.effect != "read" for tool in made)
        return self.again is not None or not changed

    def _carrying(self) -> Caller:
        """Where nothing is put back, what worked before stands, and is not called again."""
        if self.again is not None:
            return self.caller
        return Carried(self.caller, [pair for pair in self.caller.calls if pair[1].error is None])

    def _learn(self, tried: Tried) -> None:
        """What tools give that do not say it, from what they gave."""
        records = tried.result.records if tried.result else ()
        seen = {record.node: record.value for record in records if record.state == "done"}
        nodes = [node for node in tried.workflow.nodes if node.id in seen and isinstance(node, ToolNode)]
        blind = {
            node.tool: learn(None, seen[node.id]) for node in nodes if not self.catalog.output(node.tool)
        }
        self.catalog = self.catalog.with_learnt(blind)

    def _at_fault(self, tried: Tried) -> Refused:
        """Of the steps that failed the arguments that nobody said; if the error names some of them, these. Of a step for
        which all is said, or of whose arguments the error names one that is, its tool. What a result lacks is the fault
        of what it was asked with, where that was guessed."""
        found: set[Refusal] = set()
        steps = {step["id"]: step for step in tried.plan["steps"]}
        for record in tried.result.failures if tried.result else ():
            error = record.error or ""
            held = _held(steps.get(record.node))
            guessed = held & tried.guessed or _held(steps.get(error.partition(".")[0])) & tried.guessed
            named = {one for one in held if _names(error, one)}
            if not named - guessed:
                found |= named or guessed
            if (not guessed or named - guessed) and record.node in tried.chosen:
                found.add(tried.chosen[record.node])
        return frozenset(found)


def _held(step: Mapping[str, Any] | None) -> set[Refusal]:
    return {argument(step["tool"], *held) for held in step["arguments"].items()} if step else set()


def _names(error: str, held: Refusal) -> bool:
    """The argument, or the text that it is."""
    value = json.loads(held[2])
    texts = [held[1], *([value] if isinstance(value, str) and value else [])]
    return any(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", error) for text in texts)
