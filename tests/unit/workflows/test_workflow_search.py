"""The search on a small shop whose tools really answer: it finds what does the task, in the order that it promises, within
its limits, the same for a seed, and never by leaving steps out."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from graphs import workflows
from hypothesis import given, settings
from hypothesis import strategies as st
from runnable import runnable
from scripted import Scripted
from shop import RIGHT, TOOLS

from workflows.callers import Checked, Counted, Spent
from workflows.calling import Outcome, ToolRequest
from workflows.catalog import Catalog, ToolSpec, catalog
from workflows.codec import digest
from workflows.compiled import WorkflowError
from workflows.edits import RunAfter, apply_all
from workflows.engine import run
from workflows.graph import Literal, OutputNode, Ref, ToolNode, ValidatorNode, Workflow, taken
from workflows.order import Order
from workflows.searching.fitness import NOTHING, Fitness, Spending, coverage, grounding, longest_chain
from workflows.searching.lines import in_line
from workflows.searching.population import MOST_ALIKE, Tried, front, parent, structure, survivors
from workflows.searching.search import search
from workflows.searching.terms import Evaluate, Found, Limits, Proposal

PRICES = {"tea": 4, "oil": 7, "fig": 9}
LIMITS = Limits(tool_calls=3000)


def answer(request: ToolRequest) -> Outcome:
    given: Any = request.arguments
    match request.tool:
        case "shop/find":
            return Outcome({"items": [{"name": name, "price": price} for name, price in PRICES.items()]})
        case "shop/price":
            price = PRICES.get(given.get("name"))
            return (
                Outcome({"price": price}) if price else Outcome(None, "no such item: there is 'tea' or 'oil'")
            )
        case "shop/cost":
            return Outcome(None, "this tool is gone")
        case "shop/total":
            return Outcome({"total": sum(given["prices"])})
        case "shop/order":
            return Outcome({"id": f"{given['name']}-{given.get('fast')}"})
    return Outcome({})


@dataclass
class Task:
    """What has to stand in the answer, and which calls have to be made."""

    told: Sequence[str] = ()
    called: Sequence[tuple[str, Any]] = ()
    needed: Sequence[str] = ()
    seen: list[Workflow] = field(default_factory=list)

    async def __call__(self, workflow: Workflow) -> Fitness:
        self.seen.append(workflow)
        caller = Counted(Scripted(answer))
        result = await run(workflow, {"query": "tea"}, Checked(caller, TOOLS))
        made = [(record.arguments, record.value) for record in result.records if record.state == "done"]
        text = result.text or ""
        results = str([value for arguments, value in made])
        met = [part in text and part in results for part in self.told]
        asked = [(one.tool, one.arguments) for one in caller._inner.asked]  # type: ignore[attr-defined]
        met += [call in asked for call in self.called]
        return Fitness(
            sum(met) / len(met),
            coverage(self.needed, workflow, result),
            grounding(workflow, result),
            caller.tool_calls,
            longest_chain(workflow, result),
            tuple((record.node, record.error or "") for record in result.failures),
            spent=Spending(caller.tool_calls),
        )


def flow(*nodes: Any, text: str = "", **values: Any) -> Workflow:
    return Workflow("w", "", (*nodes, OutputNode(id="out", text=text, values=values)))


EMPTY = flow()


def go(first: Workflow, task: Evaluate, catalog: Catalog = TOOLS, **more: Any) -> Found:
    more = {"seed": 1, "limits": LIMITS, "literals": ["tea"], **more}
    return asyncio.run(search([first], catalog, task, **more))


def price(tool: str = "shop/price", **arguments: Any) -> ToolNode:
    return ToolNode(id="price", tool=tool, arguments=arguments)


@pytest.mark.parametrize(
    ("first", "origin"),
    [
        (flow(price(name=Literal("tea")), text="{a}", a=Ref("price.price")), "start"),
        (flow(price("shop/prices", naem=Literal("tea")), text="{a}", a=Ref("price.price")), "repair"),
        (flow(price("shop/cost", item=Literal("tea")), text="{a}", a=Ref("price.price")), "errors"),
        (flow(price(name=Literal("te")), text="{a}", a=Ref("price.price")), "errors"),
    ],
)
def test_what_needs_no_evolution_has_none(first: Workflow, origin: str) -> None:
    found = go(first, Task(told=["4"]), literals=[])
    assert (found.best.fitness.completion, found.ended) == (1.0, "complete")
    assert found.generations == 0
    assert found.best.origin == origin


def test_an_answer_that_tells_too_little_tells_more() -> None:
    find = ToolNode(id="find", tool="shop/find", arguments={"query": Literal("x")})
    order = ToolNode(id="order", tool="shop/order", arguments={"name": Literal("tea")})
    found = go(flow(find, order, text="{a}", a=Ref("find.items.1.price")), Task(told=["7", "tea-None"]))
    assert (found.best.fitness.completion, found.generations) == (1.0, 0)


def test_a_value_that_was_named_and_that_nobody_takes_is_tried_where_it_fits() -> None:
    order = ToolNode(id="order", tool="shop/order", arguments={"name": Literal("oil")})
    found = go(flow(order), Task(called=[("shop/order", {"name": "tea"})]))
    assert (found.best.fitness.completion, found.generations) == (1.0, 0)


def test_from_nothing_by_edits_alone_and_then_without_what_is_needless() -> None:
    task = Task(
        told=["tea-True", "9"], called=[("shop/order", {"name": "tea", "fast": True})], needed=["shop/order"]
    )
    found = go(EMPTY, task)
    assert (found.best.fitness.completion, found.ended) == (1.0, "complete")
    assert found.generations > 0
    assert found.best.fitness.cost == 2
    assert found.best.workflow.tools == {"shop/order", "shop/find"}
    assert found.spent.tool_calls <= LIMITS.tool_calls  # type: ignore[operator]
    assert found.front[0] == found.best


def test_the_same_seed_means_the_same_search_in_every_process() -> None:
    code = (
        "from test_workflow_search import EMPTY, Task, go\n"
        "found = go(EMPTY, Task(told=['tea-True', '9']))\n"
        "print(found.best.digest, found.evaluated, found.spent, found.saved)"
    )
    here = Path(__file__)
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": f"{here.parent}:{here.parents[3]}"},
        ).stdout
        for number in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1
    other = go(EMPTY, Task(told=["tea-True", "9"]), seed=2)
    assert f" {other.evaluated} " not in said.pop()


def test_nothing_is_evaluated_twice_and_only_what_is_well_typed() -> None:
    from workflows.check import check

    task = Task(told=["never"])
    found = go(RIGHT, task, limits=Limits(give_up_after=4))
    digests = [digest(one) for one in task.seen]
    assert len(digests) == len(set(digests)) == found.evaluated
    assert found.ended == "stagnation"
    assert all(check(one, TOOLS) == () for one in task.seen)


def test_no_tool_outside_the_catalog_is_ever_called() -> None:
    few = replace(TOOLS, tools={key: TOOLS.tools[key] for key in ("shop/find", "shop/price")})
    task = Task(told=["never"])
    go(RIGHT, task, few, limits=Limits(give_up_after=4))
    assert set().union(*(one.tools for one in task.seen)) == {"shop/find", "shop/price"}


def test_deleting_steps_does_not_pay() -> None:
    """A verifier that looks at the answer alone: the order that the start makes stays, though it costs a call."""
    order = ToolNode(id="order", tool="shop/order", arguments={"name": Literal("oil")})
    first = flow(
        order, replace(price(name=Literal("tea")), after=("order",)), text="{a}", a=Ref("price.price")
    )
    found = go(first, Task(told=["4"], needed=["shop/order"]))
    assert found.best.workflow == first
    needless = flow(*first.nodes[:2], replace(price(name=Literal("oil")), id="extra"), text="{a}{b}",
                    a=Ref("price.price"), b=Ref("extra.price"))  # fmt: skip
    found = go(needless, Task(told=["4"], needed=["shop/order"]))
    assert found.best.fitness.cost == 2
    assert "shop/order" in found.best.workflow.tools


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([node.id for node in RIGHT.nodes if node.id != "out"]), st.sampled_from(["4", "1", "x"])
)
def test_a_workflow_with_a_step_less_is_never_better_unless_the_verifiers_say_so(
    gone: str, told: str
) -> None:
    from workflows.searching.offers import Offers
    from workflows.searching.shapes import without

    task = Task(
        told=[told],
        needed=[tool for node in RIGHT.nodes if isinstance(node, ToolNode) for tool in [node.tool]],
    )
    less = apply_all(without(Offers(RIGHT, TOOLS), next(n for n in RIGHT.nodes if n.id == gone)), RIGHT)
    try:
        before, after = asyncio.run(task(RIGHT)), asyncio.run(task(less))
    except WorkflowError:
        return  # it can't be run at all
    assert after.completion > before.completion or after.order > before.order


@pytest.mark.parametrize(
    ("limits", "ended"),
    [
        (Limits(tool_calls=30), "tool_calls"),
        (Limits(seconds=0.3, give_up_after=10**6), "seconds"),
        (Limits(give_up_after=2), "stagnation"),
    ],
)
def test_a_limit_ends_it_with_the_best_so_far(limits: Limits, ended: str) -> None:
    found = go(RIGHT, Task(told=["4", "never"]), limits=limits)
    assert found.ended == ended
    assert found.best.fitness.completion == 0.5
    if limits.tool_calls:
        assert found.spent.tool_calls <= limits.tool_calls + 10  # what was under way


def test_an_evaluation_that_may_call_no_more_ends_it() -> None:
    calls = 0

    async def short(workflow: Workflow) -> Fitness:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Spent("no more")
        return Fitness(0.25)

    found = go(RIGHT, short)
    assert (found.ended, found.evaluated, found.best.fitness.completion) == ("tool_calls", 3, 0.25)


def test_a_hanging_evaluation_is_cancelled_and_an_own_timeout_is_not_taken_for_the_end() -> None:
    async def hangs(workflow: Workflow) -> Fitness:
        await asyncio.sleep(60)
        return Fitness(1.0)

    async def breaks(workflow: Workflow) -> Fitness:
        raise TimeoutError("of its own")

    found = go(RIGHT, hangs, limits=Limits(seconds=0.1))
    assert (found.ended, found.evaluated, found.best.workflow) == ("seconds", 0, RIGHT)
    with pytest.raises(TimeoutError, match="of its own"):
        go(RIGHT, breaks, limits=Limits(seconds=30))


def test_the_model_is_asked_last_for_edits_then_for_another_design_and_within_its_tokens() -> None:
    asked: list[str] = []
    right = flow(price(name=Literal("tea")), ValidatorNode(id="v", value=Ref("price.price"), schema={"const": 4}),
                 text="done: {a}", a=Ref("v"))  # fmt: skip

    async def told(workflow: Workflow) -> Fitness:
        return Fitness(1.0 if workflow == right else 0.5)

    async def propose(best: Tried) -> Proposal:
        asked.append("edits")
        return Proposal([best.workflow], Spending(0, 100))

    async def redesign(history: Sequence[Tried]) -> Proposal:
        asked.append("design")
        assert history[0].fitness.completion == 0.5
        return Proposal([right], Spending(0, 300))

    found = go(EMPTY, told, propose=propose, redesign=redesign)
    assert asked == ["edits", "edits", "design"]
    assert (found.best.origin, found.best.fitness.completion, found.spent.tokens) == ("redesign", 1.0, 500)
    asked.clear()
    found = go(EMPTY, told, propose=propose, redesign=redesign, limits=Limits(tokens=150, give_up_after=6))
    assert asked == ["edits", "edits"]
    assert (found.ended, found.spent.tokens) == ("stagnation", 200)


def test_types_that_runs_teach_lead_into_results_that_nobody_declared() -> None:
    silent = replace(
        TOOLS, tools={key: replace(spec, output_schema=None) for key, spec in TOOLS.tools.items()}
    )
    task = Task(called=[("shop/order", {"name": "tea"})])
    find = ToolNode(id="find", tool="shop/find", arguments={"query": Literal("x")})
    order = ToolNode(id="order", tool="shop/order", arguments={"name": Literal("x")})
    first = flow(find, order, text="{a}", a=Ref("find"))

    async def teaching(workflow: Workflow) -> Fitness:
        return replace(await task(workflow), learnt={"shop/find": TOOLS.output("shop/find")})

    few = Limits(give_up_after=3)
    assert go(first, task, silent, literals=[], limits=few).best.fitness.completion == 0
    found = go(first, teaching, silent, literals=[], limits=few).best
    assert found.fitness.completion == 1
    assert Ref("find.items.0.name") in [
        argument for node in found.workflow.nodes for _, argument in taken(node)
    ]


def test_what_would_race_is_put_in_line_and_nothing_else_is() -> None:
    def call(name: str, tool: str, *after: str) -> ToolNode:
        return ToolNode(id=name, tool=tool, after=after)

    order, mail = call("order", "shop/order"), call("mail", "mail/send")
    workflow = flow(call("a", "shop/find"), call("b", "shop/find"), order, call("c", "shop/find"), mail)
    assert in_line(workflow, TOOLS) == [
        RunAfter("order", "b"),
        RunAfter("order", "a"),
        RunAfter("c", "order"),
    ]
    assert in_line(apply_all(in_line(workflow, TOOLS), workflow), TOOLS) == []
    turned = flow(replace(order, after=("c",)), call("a", "shop/find"), call("c", "shop/find", "a"))
    assert in_line(turned, TOOLS) == []


@settings(max_examples=40, deadline=None)
@given(runnable() | workflows)
def test_lines_never_make_a_circle(workflow: Workflow) -> None:
    """To a catalog that knows nothing of a tool it is no change: so all of them are in it."""
    tools = catalog(ToolSpec(*tool.split("/", 1)) for tool in workflow.tools)
    lined = apply_all(in_line(workflow, tools), workflow)
    assert Order(lined).circles == Order(workflow).circles
    assert in_line(lined, tools) == []


def tried(completion: float, cost: float, *nodes: Any, grounded: float = 1.0) -> Tried:
    workflow = flow(*nodes, text=f"{completion} {cost}")
    return Tried(workflow, digest(workflow), Fitness(completion, grounding=grounded, cost=cost), "edits")


def test_the_front_has_who_is_beaten_by_none_and_the_best_is_kept() -> None:
    best, cheap, beaten = tried(1.0, 5), tried(0.5, 1), tried(0.5, 6)
    assert front([beaten, cheap, best]) == [best, cheap]
    crowd = [tried(0.5, 1 + n / 100, price(name=Literal(str(n)))) for n in range(30)]
    kept = survivors([*crowd, beaten, best], 8)
    assert best in kept
    assert len(kept) == 8


def test_a_niche_does_not_fill_the_place_of_all_others() -> None:
    many = [tried(0.5, 1 - n / 100, price(name=Literal(str(n)))) for n in range(20)]
    other = tried(0.25, 9)
    kept = survivors([*many, other], MOST_ALIKE + 2)
    assert Counter(one.niche for one in kept)[other.niche] == 1
    assert structure(many[0].workflow) == structure(many[1].workflow) != structure(other.workflow)


def test_parents_come_from_niches_that_had_few_offspring_too() -> None:
    best, other = tried(1.0, 1), tried(0.1, 9, price(name=Literal("x")))
    bred, rng = Counter({best.niche: 50}), Random(1)
    chosen = Counter(parent([best, other], bred, rng).digest for _ in range(200))
    assert 60 < chosen[other.digest] < 160


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 4)), min_size=1, max_size=12),
    st.randoms(),
)
def test_selection_does_not_depend_on_the_order_of_what_is_handed_in(
    pairs: list[tuple[float, int]], rng: Random
) -> None:
    all_ = [
        tried(completion, cost, price(name=Literal(str(n)))) for n, (completion, cost) in enumerate(pairs)
    ]
    shuffled = rng.sample(all_, len(all_))
    assert [one.digest for one in survivors(all_, 5)] == [one.digest for one in survivors(shuffled, 5)]
    assert front(all_) == front(shuffled)
    assert NOTHING.plus(Spending(1, 2)) == (1, 2)
