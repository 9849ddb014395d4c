"""`evolve run watch`: what a run says, and where it stands meanwhile, until it ends."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import click
from rich.console import Console
from rich.status import Status
from rich.text import Text

from evolve import views
from evolve.cli.context import open_product
from evolve.cli.output import json_option, plain, print_json
from evolve.cli.run_print import cost_against, print_run
from evolve.sanitize import one_line
from evolve.stage import Place
from evolve.views import Live, RunEvent

LOOK_SECONDS = 0.5
JSON_SECONDS, LINE_SECONDS = 1.0, 10.0


@click.command()
@click.argument("run_id")
@json_option
def watch(run_id: str, as_json: bool) -> None:
    """Follow a run until it ends: stage, candidate, spend, trials, e-value; with --json one object a line, whose `kind` is
    `event` or `live`."""
    console = Console()
    screen: Screen = _Json() if as_json else _Terminal(console) if console.is_terminal else _Lines()
    after = 0
    with open_product() as product, screen.shown:
        while True:
            detail = views.get_run(product.store.read, run_id, after_event=after)
            for event in detail.events:
                screen.event(event)
            screen.live(views.live(product.settings, detail))
            after = detail.last_event or after
            if not detail.run.active:
                break
            time.sleep(LOOK_SECONDS)
    if not as_json:
        print_run(detail)


def sentence(live: Live) -> str:
    """Where a run stands, in one line."""
    where = Place(live.iteration, live.proposal, live.round).words
    parts = [f"{where}: {live.stage}" if where else live.stage or live.state]
    if live.candidate:
        parts.append(f"candidate {live.candidate}")
    if live.progress:
        split = f" ({live.progress.split.replace('_', '-')})" if live.progress.split else ""
        parts.append(f"{live.progress.done} of {live.progress.planned} replays{split}")
    if live.e_value is not None and live.e_needed is not None:
        parts.append(f"e-value {live.e_value:.3g} of {live.e_needed:.3g}")
    return "; ".join([*parts, cost_against(live.spent, live.limits)])


@dataclass
class _News:
    """Tells which of many looks is worth a line: another stage or candidate at once, figures now and then."""

    every: float
    _last: Live | None = None
    _told: float = 0.0

    def is_new(self, live: Live) -> bool:
        moved = self._last is None or _scene(self._last) != _scene(live)
        changed = live != self._last and time.monotonic() - self._told >= self.every
        if not (moved or changed):
            return False
        self._last, self._told = live, time.monotonic()
        return True


def _scene(live: Live) -> tuple[object, ...]:
    return live.state, live.stage, live.iteration, live.proposal, live.round, live.candidate


class Screen(Protocol):
    """Where it is told. `shown` is entered while the run is watched."""

    shown: AbstractContextManager[object]

    def event(self, event: RunEvent) -> None: ...
    def live(self, live: Live) -> None: ...


class _Json:
    shown: AbstractContextManager[object] = nullcontext()

    def __init__(self) -> None:
        self._news = _News(JSON_SECONDS)

    def event(self, event: RunEvent) -> None:
        print_json({"kind": "event", **plain(event)})

    def live(self, live: Live) -> None:
        if self._news.is_new(live):
            print_json({"kind": "live", **plain(live)})


class _Lines:
    shown: AbstractContextManager[object] = nullcontext()

    def __init__(self) -> None:
        self._news = _News(LINE_SECONDS)

    def event(self, event: RunEvent) -> None:
        click.echo(_told(event))

    def live(self, live: Live) -> None:
        if self._news.is_new(live):
            click.echo(one_line(sentence(live)))


class _Terminal:
    """Events scroll by above one line that changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console)
        self.shown: AbstractContextManager[object] = self._status

    def event(self, event: RunEvent) -> None:
        self._console.print(Text(_told(event)), soft_wrap=True)

    def live(self, live: Live) -> None:
        self._status.update(Text(one_line(sentence(live))))


def _told(event: RunEvent) -> str:
    return f"{event.at:%H:%M:%S}  {event.stage:<12}  {one_line(event.text)}"
