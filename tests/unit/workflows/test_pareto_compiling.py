"""From a workflow to its set, with models and tools that are functions, on a clock that jumps."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import pytest
from virtual_time import run_virtually

from workflows.callers import Spent
from workflows.calling import ModelRequest, Outcome, ToolRequest
from workflows.codec import digest
from workflows.graph import (
    Arm,
    BranchNode,
    Compare,
    Literal,
    MergeNode,
    ModelNode,
    OutputNode,
    Ref,
    ToolNode,
    Workflow,
)
from workflows.pareto.bench import Bench, Played
from workflows.pareto.compiling import Compiled, accuracy, compile_points
from workflows.pareto.estimate import spent, summary
from workflows.pareto.meter import Answered, Budget
from workflows.pareto.profile import Profile
from workflows.pareto.space import Alternative, Configurations, Price, Prices, Space
from workflows.points import pick
from workflows.verify import Case, Verify

PRICES = Prices({"weak": Price(10, 10), "strong": Price(2000, 2000)}, {"s/slow": 5})
STRONG = {"strong": Alternative(model="strong")}
CASES = [Case(Verify((word,)), {"word": word.lower()}) for word in ("ONE", "TWO", "THREE")]


def asks(name: str, source: str) -> ModelNode:
    return ModelNode(id=name, prompt="{x}", values={"x": Ref(source)}, model="weak", max_tokens=8)


CHAIN = Workflow(
    "w",
    "",
    (
        asks("first", "inputs.word"),
        asks("second", "first"),
        OutputNode(id="out", text="{x}", values={"x": Ref("second")}),
    ),
    {"word": {"type": "string"}},
)
SPACE = Space(CHAIN, Configurations({"first": STRONG, "second": STRONG}, PRICES))
Say = Callable[[ModelRequest], str]


@dataclass
class World:
    say: Say
    asked: list[ModelRequest] = field(default_factory=list)
    called: list[ToolRequest] = field(default_factory=list)

    async def ask(self, request: ModelRequest) -> Answered:
        self.asked.append(request)
        await asyncio.sleep(0.5 if request.model == "strong" else 0.125)
        return Answered(Outcome(self.say(request)), len(request.prompt), 4)

    async def tool(self, request: ToolRequest) -> Outcome:
        self.called.append(request)
        await asyncio.sleep(1 if request.tool == "s/slow" else 0.25)
        long = len(str(request.arguments["word"])) > 3
        return Outcome({"long": long if request.tool != "s/other" else not long})

    async def model(self, request: ModelRequest) -> Outcome:
        raise AssertionError(request)

    def repeatable(self, tool: str) -> bool:
        return True


def compiled(space: Space, world: World, *, most: int = 16, **caps: int) -> Compiled:
    async def done() -> Compiled:
        budget = Budget(**caps, clock=asyncio.get_running_loop().time)
        bench = Bench(CASES, world, space.configurations.prices, budget, world.ask)
        return await compile_points(space, bench, most=most, seed=0)

    return run_virtually(done())


def good_if(*steps: str) -> Say:
    """Right only where the strong model does all these steps."""

    def say(request: ModelRequest) -> str:
        right = request.model == "strong" or request.node not in steps
        return request.prompt.upper() if right and request.prompt != "wrong" else "wrong"

    return say


def test_what_does_not_need_the_strong_model_does_not_get_it() -> None:
    found = compiled(SPACE, World(good_if("second"))).set_of(SPACE)
    configurations = [point.configuration for point in found.points]
    assert configurations == [{"second": "strong"}, {}]
    best = pick(found.points)
    assert (best.accuracy.value, best.latency_ms.p50, best.tool_calls) == (1.0, 625.0, 0.0)
    assert best.estimated is not None
    assert best.estimated.accuracy == 1.0
    assert best.estimated.latency_ms == best.latency_ms
    assert best.cost_micro_usd == -(-sum(2010 * (len(c.verify.answer[0]) + 4) for c in CASES) // 3000)  # type: ignore[arg-type]
    assert digest(best.graph) == digest(SPACE.configured(("own", "strong")))


def test_two_changes_that_only_together_help_are_found_though_not_foreseen() -> None:
    found = compiled(SPACE, World(good_if("first", "second")))
    best = pick(found.set_of(SPACE).points)
    assert best.configuration == {"first": "strong", "second": "strong"}
    assert best.estimated is not None
    assert (best.estimated.accuracy, best.accuracy.value) == (0.0, 1.0)


def test_a_better_anchor_shows_what_is_dear_for_nothing() -> None:
    """Of three strong steps two are needed: alone none helps, and of all three one is too many."""
    nodes = (
        *CHAIN.nodes[:2],
        asks("third", "second"),
        OutputNode(id="out", text="{x}", values={"x": Ref("third")}),
    )
    space = Space(
        Workflow("w", "", nodes, CHAIN.inputs),
        Configurations(dict.fromkeys(("first", "second", "third"), STRONG), PRICES),
    )
    best = pick(compiled(space, World(good_if("first", "third"))).set_of(space).points)
    assert best.configuration == {"first": "strong", "third": "strong"}
    assert best.estimated is not None
    assert best.estimated.accuracy == 1.0


def test_what_is_known_is_not_asked_again_to_profile_but_is_to_measure() -> None:
    world = World(good_if("second"))
    found = compiled(SPACE, world, most=1)
    assert [point.configuration for point in found.measured] == [{}]
    first, second = (sum(request.node == name for request in world.asked) for name in ("first", "second"))
    assert first == second == 2 * len(CASES)
    again = World(good_if("second"))
    compiled(SPACE, again, most=2)
    assert len(again.asked) == len(world.asked) + 2 * len(CASES)


FORKED = Workflow(
    "w",
    "",
    (
        ToolNode(id="look", tool="s/quick", arguments={"word": Ref("inputs.word")}),
        BranchNode(
            id="which",
            arms=(Arm("long", Compare(Ref("look.long"), "eq", Literal(True))),),
            otherwise="short",
        ),
        asks("careful", "inputs.word"),
        asks("hasty", "inputs.word"),
        MergeNode(id="one", sources=(Ref("careful"), Ref("hasty"))),
        OutputNode(id="out", text="{x}", values={"x": Ref("one")}),
    ),
    CHAIN.inputs,
)


def forked() -> Workflow:
    when = {"careful": "which.long", "hasty": "which.short"}
    nodes = [
        ModelNode(id=node.id, prompt=node.prompt, values=node.values, model=node.model, when=when[node.id])
        if isinstance(node, ModelNode)
        else node
        for node in FORKED.nodes
    ]
    return Workflow("w", "", tuple(nodes), FORKED.inputs)


def test_arms_weigh_as_often_as_they_are_taken_whatever_turns_a_run_to_the_other() -> None:
    """Also where the step that turns it and one that it turns to are both changed."""
    alternatives = {
        "look": {"slow": Alternative(tool="s/slow"), "other": Alternative(tool="s/other")},
        "careful": STRONG,
        "hasty": STRONG,
    }
    space = Space(forked(), Configurations(alternatives, PRICES))
    world = World(lambda request: request.prompt.upper())

    async def compare() -> None:
        clock = asyncio.get_running_loop().time
        bench = Bench(CASES, world, PRICES, Budget(clock=clock), world.ask)
        profile = Profile(space, 8)
        profile.runs[space.own] = await bench.measure(space.workflow)
        profile.anchors.append(space.own)
        for step, choice in space.one_changes(space.own):
            profile.runs[choice] = await bench.profile(space.configured(choice), step)
        for choice in product(*(space.names(step) for step in space.steps)):
            runs = await bench.measure(space.configured(choice))
            measured = summary([not one.complaints for one in runs], [spent(one) for one in runs])
            estimate = profile.estimate(choice)
            assert estimate is not None
            assert (choice, estimate.latency_ms) == (choice, measured.latency_ms)

    run_virtually(compare())


MANY = Space(
    Workflow(
        "w",
        "",
        (
            ToolNode(id="look", tool="s/quick", arguments={"word": Ref("inputs.word")}),
            OutputNode(id="out", text="{x}", values={"x": Ref("inputs.word")}),
        ),
        CHAIN.inputs,
    ),
    Configurations({"look": {name: Alternative(tool=f"s/{name}") for name in "abcd"}}, PRICES),
)


def test_profiles_leave_something_to_measure_with_and_nothing_is_begun_that_can_not_be_ended() -> None:
    """Eleven calls: three as it is; of eight half is for profiles, which is one; of the other five three measure one."""
    world = World(lambda request: "")
    found = compiled(MANY, world, max_tool_calls=11)
    assert len(found.unprofiled) == 3
    assert [point.configuration for point in found.measured] == [{}, {"look": "a"}]
    assert len(world.called) == 9
    assert found.ended is None
    with pytest.raises(Spent):
        compiled(MANY, World(lambda request: ""), max_tool_calls=2)


def test_a_configuration_for_which_too_little_is_left_is_not_begun() -> None:
    """Twenty calls: six as it is, three for each profile, six for one configuration; two are left."""
    word = {"word": Ref("inputs.word")}
    look = ToolNode(id="look", tool="s/slow", arguments=word)
    see = ToolNode(id="see", tool="s/slow", arguments=word, after=("look",))
    workflow = Workflow("w", "", (look, see, MANY.workflow.nodes[1]), CHAIN.inputs)
    fast = {"fast": Alternative(tool="s/fast")}
    space = Space(workflow, Configurations({"look": fast, "see": fast}, Prices(tools={"s/fast": 9})))
    world = World(lambda request: "")
    found = compiled(space, world, max_tool_calls=20)
    assert (len(found.measured), found.unprofiled) == (2, [])
    assert found.ended == "what is left is too little to measure some configurations"
    assert len(world.called) == 18


def test_a_changed_step_is_really_done_also_where_it_asks_the_same() -> None:
    patient = Space(MANY.workflow, Configurations({"look": {"patient": Alternative(retries=2)}}, PRICES))
    world = World(lambda request: "")
    compiled(patient, world, most=1)
    assert len(world.called) == 2 * len(CASES)


def test_where_runs_change_something_each_begins_afresh_and_makes_every_call() -> None:
    resets: list[int] = []
    world = World(good_if("second"))

    async def fresh() -> None:
        resets.append(len(world.asked))

    async def done() -> None:
        clock = asyncio.get_running_loop().time
        bench = Bench(CASES, world, PRICES, Budget(clock=clock), world.ask, fresh=fresh)
        await compile_points(SPACE, bench, most=1, seed=0)

    run_virtually(done())
    assert resets == list(range(0, 18, 2))
    assert len(world.asked) == 18


def test_caps_hold_and_what_was_measured_counts() -> None:
    whole = World(good_if("second"))
    compiled(SPACE, whole)
    for cap in range(20, 300, 20):
        world = World(good_if("second"))
        try:
            found = compiled(SPACE, world, max_tokens=cap)
        except Spent:
            assert cap <= 60
            continue
        assert sum(len(request.prompt) + 4 for request in world.asked) <= cap
        assert found.measured[0].configuration == {}
        assert found.ended or found.unprofiled or len(world.asked) == len(whole.asked)


def test_time_is_a_cap_too() -> None:
    async def done() -> Compiled:
        clock = asyncio.get_running_loop().time
        bench = Bench(CASES, world, PRICES, Budget(deadline=1.0, clock=clock), world.ask)
        found = await compile_points(SPACE, bench, most=16, seed=0)
        assert clock() <= 1.0
        return found

    async def too_late() -> None:
        bench = Bench(
            CASES, world, PRICES, Budget(deadline=0.0, clock=asyncio.get_running_loop().time), world.ask
        )
        with pytest.raises(Spent):
            await bench.measure(CHAIN)

    world = World(good_if("second"))
    run_virtually(too_late())
    assert world.asked == []
    found = run_virtually(done())
    assert len(found.measured) == 1
    assert found.ended == "the time is over" or found.unprofiled


def test_the_same_twice() -> None:
    one, other = (compiled(SPACE, World(good_if("second"))).set_of(SPACE) for _ in range(2))
    assert one == other


def test_accuracy_is_composed_case_by_case() -> None:
    """Kept where each change by itself keeps it, mended where one of them does."""

    def runs(verified: str) -> list[Played]:
        return [Played(() if sign == "+" else ("wrong",), 0.0, ()) for sign in verified]

    profile = Profile(SPACE, 8)
    profile.anchors.append(SPACE.own)
    profile.runs |= {
        ("own", "own"): runs("++++----"),
        ("strong", "own"): runs("++--++--"),
        ("own", "strong"): runs("+-+-+-+-"),
    }
    estimates = [profile.estimate(choice) for choice in (("strong", "own"), ("strong", "strong"))]
    assert [one.accuracy for one in estimates if one is not None] == [4 / 8, (1 + 3) / 8]
    del profile.runs["own", "strong"]
    assert profile.estimate(("strong", "strong")) is None


@pytest.mark.parametrize(
    ("verified", "n", "low", "high"), [(10, 10, 0.722, 1.0), (0, 10, 0.0, 0.278), (8, 10, 0.490, 0.943)]
)
def test_wilsons_interval(verified: int, n: int, low: float, high: float) -> None:
    """Of R's binom.confint(…, methods = "wilson")."""
    found = accuracy(
        [Played((), 0.0, ()) if index < verified else Played(("x",), 0.0, ()) for index in range(n)]
    )
    assert (found.value, round(found.low, 3), round(found.high, 3)) == (verified / n, low, high)
