"""From records to HTML. Everything that a template prints is made visible, capped and escaped, asked for or
not."""

import hashlib
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evidence.canonical import utcnow
from evolve.sanitize import for_page
from evolve.web.drawing import draw, draw_both
from evolve.web.steps import meaning
from promote.capabilities import in_words

STYLE = (files(__package__) / "static" / "page.css").read_bytes()
STYLE_VERSION = hashlib.sha256(STYLE).hexdigest()[:12]
SCRIPT = (files(__package__) / "static" / "htmx.min.js").read_bytes()
SCRIPT_VERSION = hashlib.sha256(SCRIPT).hexdigest()[:12]
ICON = (files(__package__) / "static" / "icon.svg").read_bytes()

TONES = {
    "good": (
        "converged",
        "committed",
        "pass",
        "fixed",
        "ready",
        "approved",
        "applied",
        "done",
        "finished",
        "still passing",
    ),
    "bad": (
        "regressed",
        "cheated",
        "fail",
        "broken",
        "failed",
        "rejected",
        "quarantined",
        "quarantine",
        "refused",
        "still failing",
    ),
    "busy": ("running", "started", "queued", "stopping", "evolving", "intent", "under way"),
    "warn": (
        "inconclusive",
        "needs_work",
        "invalid",
        "rolled_back",
        "out_of_budget",
        "undecided",
        "declined",
        "expired",
        "limit_model",
        "limit_architecture",
        "stopped",
        "unfinished",
        "worse",
        "disagree",
    ),
}
MARKS = {"good": "✓", "bad": "✗", "busy": "●", "warn": "!", "plain": "·"}


@cache
def make_environment() -> Environment:
    """One for a process, so that every page that is opened in it has each template compiled once."""
    environment = Environment(
        loader=PackageLoader("evolve.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "when": when,
        "ago": ago,
        "span": span,
        "usd": usd,
        "short": short,
        "words": words,
        "tone": tone,
        "mark": mark,
        "json": as_json,
        "compact": compact,
        "excerpt": excerpt,
        "cut": cut,
        "in_words": in_words,
        "meaning": meaning,
        "moment": datetime.fromisoformat,
    }
    environment.globals |= {
        "style_version": STYLE_VERSION,
        "script_version": SCRIPT_VERSION,
        "e_chart": e_chart,
        "draw": draw,
        "draw_both": draw_both,
        "now": utcnow,
    }
    return environment


def _finalize(value: object) -> object:
    if isinstance(value, Markup):
        return value
    return "" if value is None else for_page(str(value))


def when(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(moment: datetime) -> str:
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return "just now" if seconds < 5 else f"{span(seconds)} ago"


def span(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def usd(micros: int) -> str:
    return "$0" if micros == 0 else f"${micros / 1e6:,.4f}" if micros < 10_000 else f"${micros / 1e6:,.2f}"


def short(value: str | None, length: int = 12) -> str:
    """A digest's or commit's first characters, for places where the whole one stands nearby."""
    return (value or "").rpartition(":")[2][:length]


def words(value: str | None) -> str:
    return (value or "none").replace("_", " ").lower()


def tone(value: str | None) -> str:
    """Which of the five looks a state has; the word itself always stands beside it."""
    wanted = (value or "").lower()
    return next((name for name, values in TONES.items() if wanted in values), "plain")


def mark(value: str | None) -> str:
    return MARKS[tone(value)]


def as_json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def excerpt(text: str, length: int = 160) -> str:
    flat = " ".join(text[: length * 8].split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def cut(text: str, length: int) -> str:
    """Its beginning, with its lines, and how much more there is."""
    return text if len(text) <= length else f"{text[:length]} … [{len(text) - length:,} more characters]"


class Chart(NamedTuple):
    """An SVG polyline in a box of 600 by 160, on a logarithmic scale."""

    points: str
    threshold_y: float
    one_y: float
    last_x: float
    last_y: float
    top: str


def e_chart(path: Sequence[float], threshold: float) -> Chart | None:
    """None when there is nothing to draw."""
    if not path or threshold <= 0:
        return None
    logs = [math.log10(min(max(value, 1e-3), 1e6)) for value in (1.0, *path)]
    limit = math.log10(min(max(threshold, 1e-3), 1e6))
    low, high = min(0.0, *logs), max(limit, *logs) + 0.15

    def y(log: float) -> float:
        return round(150 - (log - low) / (high - low) * 140, 1)

    def x(index: int) -> float:
        return round(8 + index / (len(logs) - 1) * 584, 1)

    points = " ".join(f"{x(index)},{y(log)}" for index, log in enumerate(logs))
    return Chart(points, y(limit), y(0.0), x(len(logs) - 1), y(logs[-1]), f"{threshold:g}")
