"""Workflows on the page: what is drawn, where it stands, what is marked, and what a commit changes in them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_flows import AFTER, BEFORE, clock, digest_of_notes, text, wide
from web_visit import Visit, visiting
from web_world import World, make_home, make_world

from evolve import worktree
from evolve.settings import load_settings
from evolve.story import candidate_story
from evolve.views import shipped_workflows, workflow_changes
from evolve.web.drawing import BOX_HEIGHT, BOX_WIDTH, MOST_ARROWS, MOST_STEPS, WIDTH, Drawing, draw, draw_both
from evolve.workflow_library import library_at

STEPS = [f"s{number}" for number in range(70)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = make_home(tmp_path_factory.mktemp("flows") / "home")
    built = make_world(home, regression=2, workflows=(BEFORE, AFTER))
    yield built
    built.close()


@pytest.fixture
def visit(world: World) -> Iterator[Visit]:
    with visiting(world) as found:
        yield found


def workflow(waits: dict[str, list[str]], inputs: bool) -> dict[str, Any]:
    """Steps that wait for one another in any way, in circles, too."""
    value = {"x": {"ref": "inputs.x"}} if inputs else {}
    nodes = [
        {"id": name, "kind": "tool", "tool": "a/b", "after": others, "arguments": value}
        for name, others in waits.items()
    ]
    return {"v": 1, "name": "w", "description": "", "inputs": {"x": {}} if inputs else {}, "nodes": nodes}


@given(
    st.dictionaries(
        st.sampled_from(STEPS[:64]), st.lists(st.sampled_from(STEPS[:64]), max_size=4), max_size=64
    ),
    st.booleans(),
)
def test_every_step_has_a_place_of_its_own_within_the_drawing(
    waits: dict[str, list[str]], inputs: bool
) -> None:
    drawn = draw(workflow(waits, inputs))
    boxes = drawn.boxes
    assert sorted(box.step for box in boxes) == sorted([*waits, *(["inputs"] if inputs else [])])
    for box in boxes:
        assert 0 <= box.x <= WIDTH - BOX_WIDTH
        assert 0 <= box.y <= drawn.height - BOX_HEIGHT
    for index, one in enumerate(boxes):
        for other in boxes[:index]:
            assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
    assert len(drawn.arrows) <= MOST_ARROWS
    edges = {(a, b) for b, others in waits.items() for a in others if a in waits and a != b}
    assert len(drawn.arrows) == min(MOST_ARROWS, len(edges) + (len(waits) if inputs else 0))


def test_arrows_lead_down_where_nothing_waits_for_itself() -> None:
    drawn = draw(digest_of_notes())
    places = {box.step: box.y for box in drawn.boxes}
    for earlier, later in (("inputs", "find"), ("find", "some"), ("whole", "either"), ("keep", "answer")):
        assert places[earlier] < places[later]
    kinds = [arrow.kind for arrow in drawn.arrows]
    assert kinds.count("orders") == 4, "allowed, some twice, keep"


def test_what_runs_at_once_stands_on_one_band() -> None:
    drawn = draw(wide())
    [(top, height)] = drawn.bands
    assert [box.step for box in drawn.boxes if not top <= box.y <= top + height] == ["end"]
    assert draw(workflow({"a": [], "b": ["a"]}, inputs=False)).bands == ()


def test_too_many_steps_are_told_and_not_drawn() -> None:
    drawn = draw(workflow({name: [] for name in STEPS}, inputs=True))
    assert (drawn.boxes, drawn.arrows, drawn.hidden) == ((), (), len(STEPS) - MOST_STEPS)
    assert len(drawn.told) == MOST_STEPS


def test_what_differs_is_marked_in_both_versions() -> None:
    before, after = clock(time={"value": "12:00"}), clock()
    before["nodes"].append({"id": "old", "kind": "tool", "tool": "a/b"})
    after["nodes"].append({"id": "new", "kind": "tool", "tool": "a/b", "after": ["first"]})
    drawn = dict(draw_both(before, after))
    assert marks(drawn["Before"]) == {"second": "changed", "old": "removed"}
    assert marks(drawn["After"]) == {"second": "changed", "new": "added"}
    assert {step.step: step.mark for step in drawn["After"].told if step.mark} == marks(drawn["After"])
    assert [arrow.mark for arrow in drawn["After"].arrows].count("added") == 1
    assert marks(draw(after)) == {}


def marks(drawing: Drawing) -> dict[str, str]:
    return {box.step: box.mark for box in drawing.boxes if box.mark}


def test_each_change_is_told_with_what_it_may_newly_call(world: World) -> None:
    story = candidate_story(world.settings, world.store, world.candidate_id)
    broken, notes, zones = story.workflows
    assert [one.name for one in story.workflows] == ["broken.json", "digest_of_notes", "world_clock"]
    assert len(broken.problems) == 2
    assert (notes.before, notes.lost) == (None, ())
    assert "filesystem/write_file" in notes.gained
    [change] = zones.changes
    assert (change.step, change.place) == ("second", "arguments.target_timezone")
    assert (change.before, change.after) == ({"ref": "inputs.first"}, {"ref": "inputs.second"})
    assert zones.gained == zones.lost == ()
    warned = [line for line in story.distrust if "filesystem/write_file, which it could not before" in line]
    assert warned == [
        "The workflow digest_of_notes may call filesystem/write_file, which it could not before."
    ]


def test_a_workflow_that_goes_loses_its_tools(tmp_path: Path) -> None:
    world = make_world(make_home(tmp_path / "home"), regression=2, workflows=(text(clock()), {}))
    [change] = candidate_story(world.settings, world.store, world.candidate_id).workflows
    assert (change.after, change.lost, change.gained) == (None, ("time/convert_time",), ())
    world.close()


def test_the_candidate_s_page_draws_both_versions(visit: Visit) -> None:
    visit.sign_in("vera")
    html = visit.client.get(visit.page).text
    part = html[html.index('id="workflows"') : html.index('id="may"')]
    assert part.count('<svg viewBox="0 0 360') == 3, "two of the clock, one that is new"
    assert part.count("It may call what it could not before") == 1
    assert part.count("It is no workflow") == 2
    assert "arguments.target_timezone" in part
    assert 'aria-label="world_clock: 3 steps' in part
    assert "<script" not in part


def test_what_ships_is_listed_on_the_page_and_by_the_api(visit: Visit, world: World) -> None:
    visit.sign_in("vera")
    html = visit.client.get("/workflows").text
    assert html.count("<svg") == 2
    assert "not JSON" in html
    told = shipped_workflows(world.settings, world.store)
    assert [(one.path.rpartition("/")[2], bool(one.workflow)) for one in told] == [
        ("broken.json", False),
        ("wide.json", True),
        ("world_clock.json", True),
    ]


NASTY = {
    "deep": '{"v": 1, "name": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep_value": json.dumps(clock()).replace('"ref": "inputs.time"', '"value": ' + "[" * 150 + "]" * 150),
    "half": json.dumps({**clock(), "description": "\ud800"}),
    "endless": json.dumps(clock()).replace('"ref": "inputs.time"', '"value": 1e999'),
    "number": json.dumps(clock()).replace('"ref": "inputs.time"', '"value": ' + "9" * 5000),
    "nan": json.dumps(clock()).replace('"ref": "inputs.time"', '"value": NaN'),
    "list": "[]",
    "null": "null",
    "empty": "",
    "large": json.dumps({**clock(), "description": "x" * 300_000}),
    "long": json.dumps({**clock(), "description": "x" * 200_000}),
    "twins": json.dumps({**clock(), "nodes": clock()["nodes"] * 2}),
    "circle": json.dumps(workflow({"a": ["b"], "b": ["a", "b"]}, inputs=True)),
    "crowd": json.dumps(workflow({f"n{number}": [] for number in range(3000)}, inputs=False)),
    "bare": json.dumps(workflow({}, inputs=False)),
    "trigger": json.dumps({**clock(), "trigger": "(" * 90 + ")" * 90 + "(?P<"}),
}


def test_nothing_that_a_candidate_writes_breaks_the_page_or_the_api(tmp_path: Path) -> None:
    files = {f"{name}.json": content for name, content in NASTY.items()}
    world = make_world(make_home(tmp_path / "home"), regression=2, workflows=(text(clock()), files))
    with visiting(world) as visit:
        visit.sign_in()
        page = visit.client.get(visit.page)
        assert (page.status_code, len(page.content) < 2_000_000) == (200, True)
        answer = visit.client.get(f"/api/v1{visit.page}", auth=("ada", "correct horse battery"))
        assert answer.status_code == 200
        found = {one["path"]: one for one in answer.json()["workflows"]}
        assert len(found) == len(NASTY) + 1
        bad = {path.rpartition("/")[2][:-5] for path, one in found.items() if one["problems"]}
        assert bad == set(NASTY) - {"deep_value", "long", "twins", "circle", "crowd", "bare"}
        assert "larger than" in found["workflows/library/large.json"]["problems"][0]
    world.close()


def test_bytes_that_are_no_text_are_said_to_be_none(world: World, tmp_path: Path) -> None:
    library = tmp_path / "tree" / "workflows" / "library"
    library.mkdir(parents=True)
    (library / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (library / "bytes.points.json").write_text("{}")
    commit = worktree.create_repository(tmp_path / "repository", tmp_path / "tree", "first")
    [shipped] = library_at(tmp_path / "repository", commit).values()
    assert (shipped.workflow, "not JSON" in shipped.problem) == (None, True)
    assert workflow_changes(tmp_path / "repository", commit, "0" * 40) == ()
    assert shipped_workflows(load_settings(tmp_path / "nothing"), world.store) == ()
