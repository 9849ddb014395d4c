"""A run's page: its population, costs and live part, and a page for each proposal."""

import re
from collections.abc import Iterator

import pytest
from web_population import CAUSE, MUTATION, PROMPT, add_population
from web_visit import Visit, visiting
from web_world import World, make_home, make_world

from evolve.tables import RunRow
from evolve.web.live import STOP_POLLING


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(make_home(tmp_path_factory.mktemp("runs") / "home"), regression=2)
    yield built
    built.close()


@pytest.fixture(scope="module")
def visit(world: World) -> Iterator[Visit]:
    with visiting(world) as found:
        found.sign_in("vera")
        yield found


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_population_stands_beside_its_controls(visit: Visit, world: World) -> None:
    html = visit.client.get(f"/runs/{add_population(world)}").text
    table = re.search(r'<table class="cards population">.*?</table>\s*</div>\s*</section>', html, re.DOTALL)
    assert table
    shown = words(table.group())
    for row in (
        "No change live image 0 of 8",
        "Re-run live image 1 of 8",
        "1.1 codex – – – – –",
        "1.3 codex live image 8 of 8 1 – +5 −7 in 1 file",
        "2.1 mend 1.2 7.5 of 8 0 +6 −1 +5 −7 in 1 file $0.0074 740 tokens, 74 trials",
        "the two changes don&#39;t fit together",
    ):
        assert row in shown, row


def test_the_cost_tables_end_with_the_same_sum(visit: Visit, world: World) -> None:
    html = visit.client.get(f"/runs/{add_population(world)}").text
    sums = [words(foot) for foot in re.findall(r"<tfoot>.*?</tfoot>", html, re.DOTALL)]
    assert sums == ["In all $0.02 2,310 231 4 min"] * 2
    assert "of no stage" not in html


def test_a_moving_run_asks_with_and_without_a_script_and_stops(visit: Visit, world: World) -> None:
    run = add_population(world, running=True)
    page = visit.client.get(f"/runs/{run}")
    assert f'hx-get="/runs/{run}/live" hx-trigger="every 2s"' in page.text
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert re.findall(r"<script[^>]*>(.*?)</script>", page.text) == [""], "one script, nothing inline"
    still = visit.client.get(f"/runs/{run}?live=off")
    assert "script-src 'none'" in still.headers["content-security-policy"]
    for word in ("<script", "hx-get", 'http-equiv="refresh"'):
        assert word not in still.text
    part = visit.client.get(f"/runs/{run}/live")
    assert (part.status_code, "<html" in part.text) == (200, False)
    told = words(part.text)
    for word in ("Live: pass 3: trial", "10 of 88 planned, held out", "3.25 of 60 needed", "$0.03 of $2.50"):
        assert word in told, word
    with world.store.write() as session:
        row = session.get_one(RunRow, run)
        row.state = "finished"
        session.add(row)
    part = visit.client.get(f"/runs/{run}/live")
    assert (part.status_code, "Live" in part.text) == (STOP_POLLING, False)
    ended = visit.client.get(f"/runs/{run}")
    assert "hx-get" not in ended.text
    assert "script-src 'none'" in ended.headers["content-security-policy"]


def test_a_script_that_is_signed_out_is_told_so(world: World) -> None:
    with visiting(world) as other:
        answer = other.client.get(f"/runs/{world.run_id}/live")
    assert (answer.headers["hx-redirect"], answer.text) == ("/signin", "")


def test_a_proposal_s_page_has_plan_reviews_change_and_prompts(visit: Visit, world: World) -> None:
    here = f"/runs/{add_population(world)}/proposals"
    html = visit.client.get(f"{here}/1/1").text
    for word in (
        CAUSE,
        MUTATION,
        PROMPT.splitlines()[0],
        "evolve/prompts/code_review.md",
        "sha256:" + "8" * 64,
    ):
        assert word in html, word
    assert 'class="diff"' in html
    raw = visit.client.get(f"{here}/1/1/0/diff")
    assert "as_completed" in raw.text
    assert raw.headers["content-type"].startswith("text/plain")
    assert raw.headers["content-disposition"].startswith("attachment")
    assert "No model was asked" in visit.client.get(f"{here}/2/4").text
    for path in ("9/9", "1/1/7/diff"):
        assert visit.client.get(f"{here}/{path}").status_code == 404, path
