"""The page of a real product, from a failing service to a fix that is live, and back: real runs, sandbox, edge and promoter,
a real browser, users who go on asking."""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from evolve_world import (
    APPROVER,
    PASSPHRASE,
    Users,
    World,
    ask,
    close_zygotes,
    make_world,
    questions,
    running,
)
from page_browser import CHROMIUM, FLAGS, NEEDS_CHROMIUM, WIDTHS, enter, grave_issues
from playwright.sync_api import Page, sync_playwright
from webhook_receiver import Receiver, receiving

from evolve.settings import FILE_NAME

pytestmark = NEEDS_CHROMIUM
SWAP_MS = 180_000


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A product whose service has the sum wrong, which users noticed; and where they ask."""
    world = make_world(tmp_path / "home")
    with running(world) as url:
        ask(url, questions())
        world.ok("scan")
        world.ok("batch", "seal", world.batch("sum"), "--reason", "enough of them")
        yield world, url
    close_zygotes()


@pytest.fixture
def receiver(live: tuple[World, str]) -> Iterator[Receiver]:
    with receiving() as there, (live[0].home / FILE_NAME).open("a") as configuration:
        secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
        configuration.write(
            f'\n[[webhooks]]\nurl = "{there.url}"\nsecret = "{secret}"\nallow_private = true\n'
        )
        configuration.flush()
        yield there


@pytest.fixture
def address(live: tuple[World, str], receiver: Receiver) -> Iterator[str]:
    command = [sys.executable, "-m", "evolve.web"]
    env = {**os.environ, "EVOLVE_HOME": str(live[0].home)}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        assert "the page is at" in said, said
        yield said.split()[-1].rstrip("/")
        process.terminate()


def test_from_a_failure_to_a_fix_and_back(
    live: tuple[World, str], address: str, receiver: Receiver, tmp_path: Path
) -> None:
    world, url = live
    run = world.ok("run", "start", world.batch("sum"), "--coder", "sum", "--reason", "users complain")
    assert run["verdict"] == "converged", run
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser,
    ):
        page = enter(browser.new_context(), address, APPROVER, PASSPHRASE)
        keep(page, tmp_path, "inbox")
        review(page)
        keep(page, tmp_path, "candidate")
        with Users(url, "during") as users:
            approve(page)
            page.get_by_role("link", name="step by step").click()
            page.evaluate("window.here = true")
            keep(page, tmp_path, "swap-live")
            page.get_by_role("status").filter(has_text="committed").wait_for(timeout=SWAP_MS)
            assert page.evaluate("window.here"), "its steps came without a reload"
        assert users.lost == []
        assert ask(url, ["add 1 2 3 4"], "after") == [(200, "10")]
        keep(page, tmp_path, "swap-committed")
        swap = page.url
        page.goto(f"{address}/candidates/{run['candidate_id']}")
        wait_for_badge(page, "committed")
        page.goto(swap)
        roll_back(page)
        keep(page, tmp_path, "swap-rolled-back")
        assert ask(url, ["add 1 2 3 4"], "back") == [(200, "6")]
        page.get_by_role("link", name="History").first.click()
        assert page.get_by_text("it adds too much").count() > 0
        keep(page, tmp_path, "history")
    assert world.ok("audit", "verify")["valid"]
    guard = time.monotonic() + 60
    while len(receiver.got) < 4 and time.monotonic() < guard:
        time.sleep(0.1)
    assert receiver.types == ["batch.ready", "candidate.ready", "swap.committed", "swap.rolled_back"]


def review(page: Page) -> None:
    page.get_by_role("link", name="Read its story").click()
    assert page.get_by_text("What is stored does not fit").count() == 0
    changed = page.locator(".diff .code.added, .diff .code.removed").all_inner_texts()
    assert any("[:3]" in text for text in changed)
    assert any("# mark" in text for text in changed)
    assert page.get_by_text("Nothing new: what it may do, the live one may do too.").is_visible()
    first = page.locator(".more summary").first
    first.click()
    assert page.locator(".replies pre").first.is_visible()


def approve(page: Page) -> None:
    form = page.get_by_role("form", name="Approve exactly these bytes")
    form.get_by_label("Reason").fill("the sums are right now")
    form.get_by_label("Last 8 digits").fill(page.locator(".bytes mark").inner_text())
    form.get_by_label("Your passphrase").fill(PASSPHRASE)
    form.get_by_role("button", name="Approve").click()
    page.get_by_text("the sums are right now").wait_for()


def roll_back(page: Page) -> None:
    form = page.get_by_role("form", name="Go back")
    form.get_by_label("Reason").fill("it adds too much")
    form.get_by_label("Your passphrase").fill(PASSPHRASE)
    form.get_by_role("button", name="Roll back").click()
    page.get_by_role("status").filter(has_text="rolled back").wait_for(timeout=SWAP_MS)


def wait_for_badge(page: Page, word: str) -> None:
    """What the ended swap means for its candidate is followed beside the page."""
    guard = time.monotonic() + 60
    while not page.locator("h1 + .meta .badge", has_text=word).count() and time.monotonic() < guard:
        page.wait_for_timeout(300)
        page.reload()
    assert page.locator("h1 + .meta .badge", has_text=word).count()


def keep(page: Page, folder: Path, name: str) -> None:
    """As an artefact at both widths, after a look with axe."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        page.screenshot(path=folder / f"{width}-{name}.png", full_page=True)
    assert grave_issues(page) == [], name
    page.set_viewport_size({"width": WIDTHS[0], "height": 844})
