"""The search for better workflows: what it finds when one thing is wrong, what it never does, and what it reads."""

import asyncio
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web_flows import clock

from evolve.workflow_mend import __main__ as program
from evolve.workflow_mend.improve import Improved, improve
from evolve.workflow_mend.judge import CheckBroken, Judge
from evolve.workflow_mend.layout import laid_out
from evolve.workflow_mend.neighbours import neighbours
from evolve.workflow_mend.recorded import Recorded, Unreadable, read_task
from workflows.calling import ModelRequest, Outcome, ToolRequest
from workflows.catalog import catalog, read_listing
from workflows.check import check
from workflows.codec import from_json, to_json
from workflows.difference import difference
from workflows.engine import run
from workflows.graph import Workflow
from workflows.learn import learn
from workflows.shipped import match

SHIPPED = Path(program.__file__).parents[2] / "workflows" / "library"
FILE = "workflows/library/world_clock.json"
TEXT = {"type": "string"}
ZONED = {"source_timezone": TEXT, "time": TEXT, "target_timezone": TEXT}
LISTING = [
    {"name": "convert_time", "inputSchema": {"properties": ZONED, "required": sorted(ZONED)}},
    {"name": "convert_back", "inputSchema": {"properties": ZONED, "required": sorted(ZONED)}},
    {"name": "get_current_time", "inputSchema": {"properties": {"timezone": TEXT}, "required": ["timezone"]}},
]
ASKED = {f"case-{n}": f"1{n}:00 in here when in there{n} and elsewhere{n}" for n in range(4)}
FINE = {"case-8": "10:00 in here when in same and same", "case-9": "hello"}


def answer_of(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    def told(zone: object, when: object) -> dict[str, object]:
        return {"timezone": zone, "datetime": when}

    source, target, time = (arguments.get(name) for name in ("source_timezone", "target_timezone", "time"))
    if tool == "time/convert_time":
        return {"source": told(source, time), "target": told(target, f"{time} of {source} in {target}")}
    return {"source": told(source, time), "target": told(target, "before")}


class Clocks:
    """Tools without a server."""

    async def tool(self, request: ToolRequest) -> Outcome:
        return Outcome(answer_of(request.tool, request.arguments))

    async def model(self, request: ModelRequest) -> Outcome:
        raise AssertionError("nobody asks a model")

    def repeatable(self, tool: str) -> bool:
        return True


@dataclass
class Replays(Judge):
    """A visible case passes when the workflow says what it should; what is none of its business always does."""

    copy: Path = Path()
    told: Mapping[str, str] = field(default_factory=dict)
    """Where something else is wanted."""

    async def passing(self, file: str, content: bytes, cases: Iterable[str] = ()) -> dict[str, bool]:
        workflow = from_json(json.loads(content))
        found = {}
        for case in list(cases) or [*ASKED, *FINE]:
            self.replays += 1
            text = ASKED.get(case) or FINE[case]
            inputs = match(workflow, text)
            said = (await run(workflow, inputs, Clocks())).text if inputs else "hello"
            found[case] = said == self.told.get(case, wanted(text))
        return found


def wanted(text: str) -> str:
    said = re.match(r"(\S+) in here when in (\w+) and (\w+)", text)
    if said is None:
        return "hello"
    return "\n".join(f"{said[1]} of here in {zone}" for zone in said.groups()[1:])


def recorded() -> Recorded:
    seen = answer_of("time/convert_time", {"source_timezone": "a", "target_timezone": "b", "time": "1"})
    learnt = {f"time/{name}": learn(None, seen) for name in ("convert_time", "convert_back")}
    return Recorded({**ASKED, **FINE}, catalog(read_listing("time", LISTING)).with_learnt(learnt))


def shape(workflow: Workflow) -> bytes:
    return laid_out(to_json(workflow), clock())


def search(table: dict[str, Any], *, every: bool = False, told: Mapping[str, str] = {}) -> Improved | None:
    workflow = from_json(deepcopy(table))
    return asyncio.run(
        improve(
            FILE, workflow, recorded().of(workflow, every), shape, Replays(told=told), list(ASKED),
            [case for case in FINE if not told], seed=1, seconds=20, progress=lambda line: None,
        )
    )  # fmt: skip


def spoilt(step: int, place: str, value: object) -> dict[str, Any]:
    table = clock()
    holder, name = place.split(".")
    table["nodes"][step][holder][name] = {"ref": value}
    return table


@pytest.mark.parametrize(
    "table",
    [
        spoilt(1, "arguments.target_timezone", "inputs.first"),
        spoilt(1, "arguments.source_timezone", "inputs.first"),
        spoilt(0, "arguments.time", "inputs.source"),
        spoilt(2, "values.two", "second.source.datetime"),
        spoilt(2, "values.one", "first.target.timezone"),
    ],
    ids=["wrong input", "wrong source", "wrong time", "wrong field", "wrong name"],
)
def test_one_wrong_binding_is_found_and_nothing_else_is_changed(table: dict[str, Any]) -> None:
    found = search(table)
    assert found is not None
    assert (found.complete, set(found.mends)) == (True, set(ASKED))
    assert to_json(found.workflow) == to_json(from_json(clock()))


def test_two_arguments_that_were_swapped_are_found() -> None:
    table = spoilt(0, "arguments.source_timezone", "inputs.first")
    table["nodes"][0]["arguments"]["target_timezone"] = {"ref": "inputs.source"}
    found = search(table)
    assert found is not None
    assert found.complete


def test_a_wrong_tool_is_only_replaced_by_one_that_it_may_call() -> None:
    table = clock()
    table["nodes"] = [table["nodes"][0] | {"tool": "time/convert_back"}, table["nodes"][2]]
    table["nodes"][1] |= {"text": "{one}", "values": {"one": {"ref": "first.target.datetime"}}}
    told = {case: f"{text[:5]} of here in there{case[-1]}" for case, text in ASKED.items()}
    assert search(table, told=told) is None
    mended = search(table, every=True, told=told)
    declared = search({**table, "capabilities": ["time/convert_back", "time/convert_time"]}, told=told)
    for found in (mended, declared):
        assert found is not None
        assert found.workflow.tools == {"time/convert_time"}


def test_what_would_break_a_case_that_passes_is_not_handed_in() -> None:
    FINE["case-7"] = "11:00 in here when in first and first"
    try:
        broken = spoilt(1, "arguments.target_timezone", "inputs.first")
        assert search(broken) is not None

        class Wrong(Replays):
            async def passing(self, file: str, content: bytes, cases: Iterable[str] = ()) -> dict[str, bool]:
                found = await super().passing(file, content, cases)
                return found | ({"case-7": b"inputs.second" not in content} if "case-7" in found else {})

        workflow = from_json(broken)
        told = improve(
            FILE, workflow, recorded().of(workflow, False), shape, Wrong(), list(ASKED), list(FINE),
            seed=1, seconds=5, progress=lambda line: None,
        )  # fmt: skip
        assert asyncio.run(told) is None
    finally:
        del FINE["case-7"]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from([0, 1]), st.sampled_from(sorted(ZONED)), st.sampled_from(["time", "source", "first"]))
def test_neighbours_are_in_order_and_reach_for_nothing_new(step: int, name: str, other: str) -> None:
    workflow = from_json(spoilt(step, f"arguments.{name}", f"inputs.{other}"))
    own = recorded().of(workflow, every=False)
    found = [child.workflow for child in neighbours(workflow, own)]
    assert found
    for child in found:
        assert not check(child, own)
        assert child.tools <= workflow.tools
        assert difference(workflow, child, own).gained == {}


def test_the_same_seed_finds_the_same() -> None:
    table = spoilt(2, "values.two", "second.source.datetime")
    one, other = search(table), search(table)
    assert one is not None
    assert one == other


def write_task(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    body = {"messages": [{"role": "user", "content": "first"}, {"role": "user", "content": "10:00 in b?"}]}
    result = {"structuredContent": {"target": {"datetime": "x"}}, "content": []}
    told = {
        "listed": {
            "time": {"tools/list": {"tools": LISTING[:1]}, "tools/list?cursor=2": {"tools": LISTING[1:]}}
        },
        "calls": [
            {"tool": "time/convert_time", "arguments": {}, "result": result},
            {"tool": "time/convert_time", "arguments": {}, "result": {"isError": True, "content": []}},
        ],
    }
    (folder / "cases.json").write_text(json.dumps([{"id": "case-0", "turn": {"body": body}}]))
    (folder / "tools.json").write_text(json.dumps(told))
    return folder


def test_what_was_recorded_is_read_with_types(tmp_path: Path) -> None:
    found = read_task(write_task(tmp_path))
    assert found.asked == {"case-0": "10:00 in b?"}
    assert [spec.name for spec in found.tools] == ["convert_back", "convert_time", "get_current_time"]
    assert found.tools.output("time/convert_time")["properties"]["target"]  # type: ignore[index]
    assert found.tools.output("time/convert_back") == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cases.json", "{"),
        ("cases.json", "[1]"),
        ("tools.json", "[]"),
        ("tools.json", '{"listed": {"a": 1}}'),
    ],
)
def test_a_task_that_can_t_be_read_is_said_and_nothing_runs(tmp_path: Path, name: str, content: str) -> None:
    (write_task(tmp_path / "task") / name).write_text(content)
    with pytest.raises(Unreadable, match="task"):
        read_task(tmp_path / "task")
    assert program.main(["--repo", str(tmp_path), "--task", str(tmp_path / "task")]) == 2


CHECK = """#!/usr/bin/env python3
import json, sys
names = [word for word in sys.argv[1:] if word.startswith("case-")] or ["case-0", "case-1"]
tree = sys.argv[sys.argv.index("--tree") + 1]
table = json.load(open(tree + "/workflows/library/world_clock.json"))
second = next(node for node in table["nodes"] if node["id"] == "second")
good = second["arguments"]["target_timezone"] == {"ref": "inputs.second"}
if "dead" in table["description"]:
    sys.exit("the run has ended")
results = [{"case": name, "outcome": "pass" if good or name != "case-0" else "fail", "reason": ""} for name in names]
print(json.dumps({"results": results}))
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a clock whose second zone is the first, and an `evolve-check` that wants it to be the second."""
    folder = tmp_path / "bin"
    folder.mkdir()
    check_program = folder / "evolve-check"
    check_program.write_text(CHECK)
    check_program.chmod(check_program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    path = tmp_path / "repo" / FILE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(spoilt(1, "arguments.target_timezone", "inputs.first")))
    (path.parent / "none.json").write_text('{"v": 1}')
    task = write_task(tmp_path / "task")
    cases = [{"id": "case-0", "turn": {"body": {"messages": [{"role": "user", "content": ASKED["case-0"]}]}}}]
    (task / "cases.json").write_text(json.dumps(cases))
    return tmp_path / "repo"


def arguments(repository: Path) -> list[str]:
    return ["--repo", str(repository), "--task", str(repository.parent / "task"), "--budget-seconds", "30"]


def test_the_program_mends_the_file_and_no_other(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments(repository)) == 0
    assert json.loads((repository / FILE).read_text()) == clock()
    assert (repository / FILE).with_name("none.json").read_text() == '{"v": 1}'
    said = capsys.readouterr()
    report = json.loads(said.out)
    [improved] = report["improved"]
    assert (improved["file"], improved["mends"]) == (FILE, ["case-0"])
    assert "none.json is left out" in said.err


def test_the_program_touches_nothing_when_no_failing_case_is_a_workflow_s(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [{"id": "case-0", "turn": {"body": {"messages": [{"role": "user", "content": "sing"}]}}}]
    (repository.parent / "task" / "cases.json").write_text(json.dumps(cases))
    before = (repository / FILE).read_bytes()
    assert program.main(arguments(repository)) == 1
    assert (repository / FILE).read_bytes() == before
    assert json.loads(capsys.readouterr().out)["ran"] == {}


def test_replays_that_can_t_be_had_end_it(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = repository / FILE
    path.write_text(path.read_text().replace("What a time", "dead"))
    assert program.main(arguments(repository)) == 5
    assert "the run has ended" in capsys.readouterr().err
    judge = Judge.of(repository, repository.parent / "copy")
    with pytest.raises(CheckBroken):
        asyncio.run(judge.passing(FILE, path.read_bytes()))


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_file_that_does_not_change_is_written_as_it_was(path: Path) -> None:
    table = json.loads(path.read_text())
    assert laid_out(to_json(from_json(table)), table) == path.read_bytes()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=5,
)
MORE = st.dictionaries(st.sampled_from(["x", "y", "z"]), JSON)
NODES = st.lists(
    st.builds(lambda name, more: {**more, "id": name}, st.sampled_from("abcd"), MORE),
    unique_by=lambda node: node["id"],
)
TABLES = st.builds(lambda nodes, more: {**more, "nodes": nodes}, NODES, MORE)


@settings(max_examples=40, deadline=None)
@given(TABLES, TABLES)
def test_layout_changes_nothing_but_the_order_of_steps(table: dict[str, Any], like: dict[str, Any]) -> None:
    written = json.loads(laid_out(table, like))
    for one in (written, table):
        one["nodes"] = sorted(one["nodes"], key=lambda node: node["id"])
    assert written == table
