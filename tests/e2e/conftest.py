"""Shared by the tests of the page: a browser, and the page of a module's own world at an address."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_browser import CHROMIUM, FLAGS
from playwright.sync_api import Browser, sync_playwright

sys.path += [
    str(Path(__file__).parents[1] / "integration"),
    str(Path(__file__).parents[1] / "unit" / "evolve"),
]

from web_served import served
from web_world import World


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    """Where the page of the module's `world` is served."""
    with served(world) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()
