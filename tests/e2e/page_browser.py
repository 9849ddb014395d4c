"""Debian's Chromium, as the tests of the page drive it."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install -y chromium"),
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
GRAVE = ("serious", "critical")
WIDTHS = (1280, 390)
LOOKS = [
    (1280, "light"),
    (390, "dark"),
    pytest.param(1280, "dark", marks=pytest.mark.soak),
    pytest.param(390, "light", marks=pytest.mark.soak),
]
"""Widths and colour schemes. Each of both is looked at in the ordinary tests, each pair in the long ones."""
MOST_TABS = 250


def enter(context: BrowserContext, address: str, person: str, passphrase: str) -> Page:
    """A page of this person, signed in."""
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Person").fill(person)
    page.get_by_label("Passphrase").fill(passphrase)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")
    return page


def open_everything(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


def grave_issues(page: Page) -> list[str]:
    """What axe finds here that keeps somebody out: rule, impact, and the first places."""
    found = Axe().run(page).response["violations"]
    return [
        f"{issue['id']} ({issue['impact']}): {[node['html'][:160] for node in issue['nodes'][:3]]}"
        for issue in found
        if issue["impact"] in GRAVE
    ]


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what is focused has this accessible name; nothing else is touched."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and _name(page) == name:
            return
    raise AssertionError(f"{name!r} can't be reached by the keyboard")


def _name(page: Page) -> str:
    script = """() => {
      const one = document.activeElement;
      const label = one.labels && one.labels.length ? one.labels[0].textContent : one.textContent;
      return (label || '').replace(/[ \\n]+/g, ' ').trim();
    }"""
    return str(page.evaluate(script))
