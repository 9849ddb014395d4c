"""The engine, which runs all that it can at once, comes to what a plain interpreter comes to, whatever fails and
whoever is slow."""

import asyncio
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from runnable import answer, chance, runnable
from scripted import Scripted
from sequential import interpret

from workflows.calling import Outcome, ToolRequest
from workflows.codec import from_json, to_json
from workflows.engine import run
from workflows.graph import Workflow
from workflows.journal import Journal

INPUTS: dict[str, object] = {"n": 3, "list": [1, {"n": 2}]}


@settings(max_examples=60, deadline=None)
@given(runnable(), st.integers(0, 999), st.sampled_from([0, 10, 40]), st.integers(1, 4))
def test_the_engine_equals_a_plain_interpreter(
    workflow: Workflow, seed: int, faults: int, limit: int
) -> None:
    caller = Scripted(
        lambda request: answer(request, seed, faults), turns=lambda request: chance(request, seed + 1) % 5
    )
    result = asyncio.run(run(from_json(to_json(workflow)), INPUTS, caller, limit=limit))
    asked: list[ToolRequest] = []

    def ask(request: ToolRequest) -> Outcome:
        asked.append(request)
        return answer(request, seed, faults)

    expected = interpret(workflow, INPUTS, ask)
    found = {
        record.node: (record.state, record.value if record.state == "done" else None)
        for record in result.records
    }
    expected["out"] = (expected["out"][0], "" if expected["out"][0] == "done" else None)
    assert found == expected
    assert Counter(map(repr, caller.asked)) == Counter(map(repr, asked))


class Killed(Exception):
    pass


@settings(max_examples=25, deadline=None)
@given(runnable(), st.integers(0, 999), st.lists(st.integers(0, 6), min_size=1, max_size=4), st.booleans())
def test_a_run_that_was_cut_off_goes_on_from_its_journal(
    workflow: Workflow, seed: int, kills: list[int], repeatable: bool
) -> None:
    """Nothing that ended is done again, and without a call whose end is unknown the result is that of a run that nobody
    cut off."""
    whole = asyncio.run(run(workflow, INPUTS, Scripted(lambda request: answer(request, seed, 20))))
    ended: Counter[str] = Counter()
    begun: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        for kill in [*kills, None]:
            calls = 0

            def ask(request: ToolRequest, kill: int | None = kill) -> Outcome:
                nonlocal calls
                begun[repr(request)] += 1
                calls += 1
                if kill is not None and calls > kill:
                    raise Killed
                ended[repr(request)] += 1
                return answer(request, seed, 20)

            with Journal(
                Scripted(ask, repeatable_tools=repeatable), Path(folder) / "j", workflow, INPUTS
            ) as journal:
                try:
                    result = asyncio.run(run(workflow, INPUTS, journal))
                except Killed:
                    continue
                break
    assert all(count == 1 for count in ended.values())
    if repeatable:
        assert result == whole
    else:
        assert all(count == 1 for count in begun.values())
