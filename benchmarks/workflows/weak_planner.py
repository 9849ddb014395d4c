"""A weak planner: it knows how each task is done, and errs as often, and in the ways, as `rates.json` says.

It is asked in two forms: for a whole plan, and for the next call (ReAct). Each question about a task has a number, and a
question with another number is answered with draws of its own: so a second try is as good as a first. (In ReAct, whether a
step is forgotten, invented or out of order is drawn once for all questions: one course of calls is one plan.) A planner that
is asked the same again, in the same order, says the same.

What it sees may be put right, each time with the probability `fix`: a step that the errors name is right in the next plan,
so is prose, and so is, in ReAct, the call that just failed; and there a call that worked, but was not the right one, is seen
in its result, and its step is tried again.

It is not told which tools are hidden from it: a tool that the prompt does not show may still be called rightly.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks.workflows.prompts import Prompt, read_prompt
from benchmarks.workflows.slips import (
    GUESSES,
    KINDS,
    Draw,
    Json,
    Rates,
    invented_step,
    one_step,
    prose,
    with_slips,
)
from benchmarks.workflows.tasks import Task
from workflows.plan import REFERENCE

RATES = Path(__file__).with_name("rates.json")
EXTRA = "extra"
NEVER = Draw(dict.fromkeys(KINDS, 0.0), "")


@dataclass(frozen=True)
class RateTable:
    plan: Rates
    """By kind, where it is asked for a whole plan."""
    step: Rates
    """Where it is asked for the next call."""
    fix: float

    @classmethod
    def same(cls, rates: Rates, fix: float = 0.0) -> Self:
        return cls(rates, rates, fix)

    @classmethod
    def frozen(cls) -> Self:
        table = json.loads(RATES.read_text())
        return cls(table["plan"]["rates"], table["step"]["rates"], table["fix"])

    def scaled(self, scale: float) -> "RateTable":
        """Every rate of a mistake, at most 1; what is put right after an error stays."""
        plan, step = (
            {kind: min(1.0, rate * scale) for kind, rate in rates.items()} for rates in (self.plan, self.step)
        )
        return RateTable(plan, step, self.fix)


@dataclass
class _Memory:
    """Of the questions about one task."""

    asked: int = 0
    prosaic: bool = False
    """It said prose the last time."""
    intents: list["_Intent"] = field(default_factory=list)
    """In ReAct: what each answer was meant for."""


class _Intent(NamedTuple):
    step: str
    """Empty for prose."""
    right: bool


class WeakPlanner:
    def __init__(self, tasks: Sequence[Task], rates: RateTable, seed: int) -> None:
        """Two tasks with the same request are one task to it."""
        self._tasks = {task.request: task for task in tasks}
        self._rates, self._seed = rates, seed
        self._memories: dict[str, _Memory] = {}

    def answer(self, messages: Sequence[dict[str, str]]) -> str:
        """Raises KeyError for a request that it does not know."""
        prompt = read_prompt(messages)
        task = self._tasks[prompt.request]
        memory = self._memories.setdefault(task.id, _Memory())
        rates = self._rates.step if prompt.stepwise else self._rates.plan
        draw = Draw(rates, f"{self._seed}:{task.id}:{task.seed}:{memory.asked}")
        memory.asked += 1
        return (
            self._next_call(task, prompt, memory, draw)
            if prompt.stepwise
            else self._plan(task, prompt, memory, draw)
        )

    def _plan(self, task: Task, prompt: Prompt, memory: _Memory, draw: Draw) -> str:
        named = {*prompt.named, *(["plan"] if prompt.retry and memory.prosaic else [])}
        draw = self._sparing(draw, named)
        memory.prosaic = draw.slips("prose", "plan")
        if memory.prosaic:
            return prose(task.oracle, draw.rng("words", "plan"))
        return json.dumps(with_slips(task.oracle, prompt.shown, draw), ensure_ascii=False)

    def _next_call(self, task: Task, prompt: Prompt, memory: _Memory, draw: Draw) -> str:
        whole = Draw(self._rates.step, f"{self._seed}:{task.id}:{task.seed}")
        past = list(zip(memory.intents, prompt.past, strict=False))
        results = {
            intent.step: result.value
            for number, (intent, result) in enumerate(past)
            if result.worked and (intent.right or not self._luck(whole, f"seen {number}"))
        }
        if past and not past[-1][1].worked:
            draw = self._sparing(draw, {past[-1][0].step or "plan"})
        step = _due(task.oracle["steps"], results.keys(), whole)
        if draw.slips("prose", "plan"):
            memory.intents.append(_Intent("", False))
            return prose({"steps": [step] if step else []}, draw.rng("words", "plan"))
        if step is None:
            return json.dumps(
                {"answer": _filled_answer(task.oracle["answer"], results, draw)}, ensure_ascii=False
            )
        if not any(intent.step == EXTRA for intent in memory.intents) and whole.slips(
            "invented_step", "plan"
        ):
            made = invented_step(prompt.shown, whole.rng("invented", "plan"))
            memory.intents.append(_Intent(EXTRA, True))
        else:
            made = one_step(_known(step, results, draw), prompt.shown, draw)
            right = (made["tool"], made["arguments"]) == (
                step["tool"],
                _known(step, results, NEVER)["arguments"],
            )
            memory.intents.append(_Intent(step["id"], right))
        return json.dumps({"tool": made["tool"], "arguments": made["arguments"]}, ensure_ascii=False)

    def _luck(self, draw: Draw, name: str) -> bool:
        return draw.rng("fix", name).random() < self._rates.fix

    def _sparing(self, draw: Draw, named: set[str]) -> Draw:
        right = {name for name in named if self._luck(draw, name)}
        return Draw(draw.rates, draw.seed, frozenset(right))


def _due(steps: Sequence[Json], done: Collection[str], draw: Draw) -> Json | None:
    """The next step; one that has to wait for it may come before it, and one may be forgotten."""
    left = [step for step in steps if step["id"] not in done and not draw.slips("missing_step", step["id"])]
    for later in left[1:]:
        first = left[0]["id"]
        if first in later.get("after", []) and draw.slips("wrong_order", f"{later['id']}.{first}"):
            return later
    return left[0] if left else None


def _known(step: Json, results: dict[str, Any], draw: Draw) -> Json:
    """With values in the place of references; what is lost is guessed."""
    arguments = {}
    for name, value in step["arguments"].items():
        reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        place = f"{step['id']}.{name}"
        if reference:
            found = _at(reference[1], results)
            lost = found is None or draw.slips("lost_dependency", place)
            value = draw.rng("guess", place).choice(GUESSES) if lost else found
        arguments[name] = value
    return {**step, "arguments": arguments}


def _filled_answer(answer: str, results: dict[str, Any], draw: Draw) -> str:
    def filled(reference: str) -> str:
        found = _at(reference, results)
        if found is None or draw.slips("lost_dependency", f"answer.{reference}"):
            return draw.rng("guess", reference).choice(GUESSES)
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    return REFERENCE.sub(lambda match: filled(match[1]), answer)


def _at(reference: str, results: dict[str, Any]) -> Any:
    """None where it leads nowhere."""
    source, *path = reference.split(".")
    value = results.get(source)
    for part in path:
        if isinstance(value, list) and part.isdecimal():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value
