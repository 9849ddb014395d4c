"""How the page looks: every part of it at two widths, in light and dark, kept as pictures in `tests/e2e/screenshots` for
people to look at; and what a machine can see of it: nothing is cut off or overlaps, the focus shows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_browser import LOOKS, NEEDS_CHROMIUM, enter, open_everything
from playwright.sync_api import Browser, Page
from web_flows import AFTER, BEFORE
from web_population import add_population
from web_world import PASSPHRASE, World, add_running_run, add_swap, make_home, make_world

from evolve.views import list_runs

SCREENSHOTS = Path(__file__).parent / "screenshots"

pytestmark = NEEDS_CHROMIUM

WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
CUT = """() => [...document.querySelectorAll('main *')].filter(one => {
  const style = getComputedStyle(one);
  const cut = style.overflowX === 'hidden' && one.scrollWidth > one.clientWidth + 1;
  return cut && style.textOverflow !== 'ellipsis' && one.clientWidth > 1 && !one.closest('.sr');
}).map(one => one.outerHTML.slice(0, 120))"""
SIDEWAYS = """() => [...document.querySelectorAll('main .scroll')]
  .filter(one => one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1).map(one => one.ariaLabel)"""
RING = """() => {
  const style = getComputedStyle(document.activeElement);
  return parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== 'none';
}"""
PLACE = "() => document.activeElement === document.body ? '' : document.activeElement.outerHTML.slice(0, 120)"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = make_home(tmp_path_factory.mktemp("looks") / "home")
    built = make_world(home, workflows=(BEFORE, AFTER))
    add_swap(
        built, "swap-done", "ACCEPTED", "PREFLIGHT", "HOLD", "DRAIN", "START", "PROBE", "RELEASED", "BAKE"
    )
    add_swap(built, "swap-done", "committed")
    add_swap(built, "swap-moving", "ACCEPTED", "PREFLIGHT", "HOLD")
    add_running_run(built)
    add_population(built)
    add_population(built, running=True)
    yield built
    built.close()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_every_part_is_whole(browser: Browser, address: str, world: World, width: int, scheme: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    parts = {
        "inbox": "/?live=off",
        "batches": "/batches",
        "batch": f"/batches/{world.batch_id}",
        "runs": "/runs?live=off",
        "run": f"/runs/{world.run_id}",
        "run-population": f"/runs/{ended(world)}",
        "run-moving": f"/runs/{moving(world)}?live=off",
        "proposal-refused": f"/runs/{ended(world)}/proposals/1/1",
        "proposal-tried": f"/runs/{ended(world)}/proposals/2/1",
        "candidate": f"/candidates/{world.candidate_id}",
        "workflows": "/workflows",
        "history": "/history",
        "history-all": "/history?rows=all",
        "swap-ended": "/swaps/swap-done",
        "swap-moving": "/swaps/swap-moving?live=off",
        "not-found": "/nothing/here",
    }
    with browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{address}/signin")
        keep(page, f"signin-{width}-{scheme}")
        page.close()
        page = enter(context, address, "ada", PASSPHRASE)
        for name, path in parts.items():
            page.goto(address + path)
            keep(page, f"{name}-{width}-{scheme}")
            open_everything(page)
            keep(page, f"{name}-unfolded-{width}-{scheme}")


def ended(world: World) -> str:
    """The run with a population that has come to its end."""
    return next(run.id for run in list_runs(world.store.read) if run.verdict == "inconclusive")


def moving(world: World) -> str:
    return next(run.id for run in list_runs(world.store.read) if run.active and run.iteration == 3)


def keep(page: Page, name: str) -> None:
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    assert not page.evaluate(WIDER), f"{name} is wider than the window"
    assert page.evaluate(CUT) == [], name
    assert page.evaluate(SIDEWAYS) == [], f"{name}: columns that one has to scroll to"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_shows_wherever_it_is(browser: Browser, address: str, world: World, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = enter(context, address, "ada", PASSPHRASE)
        for path in (
            "/?live=off",
            f"/candidates/{world.candidate_id}",
            "/swaps/swap-moving?live=off",
            f"/runs/{ended(world)}/proposals/1/1",
        ):
            page.goto(address + path)
            seen = 0
            for _ in range(80):
                page.keyboard.press("Tab")
                if not (place := page.evaluate(PLACE)):
                    break
                assert page.evaluate(RING), f"{path}: no ring around {place}"
                seen += 1
            assert seen > 5, path
