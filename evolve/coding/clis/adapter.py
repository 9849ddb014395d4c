"""What an adapter of a coding CLI is, and what adapters share."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evolve.coding.protocol import CodingOutcome

HOME = "/work/home"
"""A clean home that ends with the call; nothing of the operator's is in it."""
KEY = "held-by-the-gateway"
"""What a CLI is given for a key: the gateway adds the real one."""
MAX_TEXT = 20_000
MAX_LINES = 2_000

Registry = Literal["npm", "pip"]


@dataclass(frozen=True)
class Order:
    """What a builder is told. All paths are inside the sandbox."""

    program: str
    model: str
    base: str
    """`http://127.0.0.1:PORT`, behind which the gateway is."""
    repo: str
    task_file: str
    prompt: str
    likely: tuple[str, ...] = ()
    session: str = ""
    """Resume this one; empty: begin."""
    max_turns: int = 100


@dataclass(frozen=True)
class Started:
    """A command line with its environment and the files that its home begins with."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Path below the home -> content."""


@dataclass(frozen=True)
class Said:
    """What a CLI says about itself: for people, and where the tree and the gateway's log say nothing."""

    text: str = ""
    session: str = ""
    tokens: int = 0
    usd_micros: int = 0
    hint: CodingOutcome | None = None


@dataclass(frozen=True)
class Adapter:
    """One CLI. `build` and `read` are pure; `read` takes any text, also a torn or a hostile one."""

    kind: str
    program: str
    registry: Registry
    package: str
    good: tuple[tuple[int, ...], tuple[int, ...]]
    """The first version that is known to work, and the first that nobody has tried."""
    build: Callable[[Order], Started]
    read: Callable[[str], Said]
    leftovers: tuple[str, ...] = ()
    """Globs of what it leaves at the top of a worktree; never part of a candidate."""
    resumes: bool = False

    @property
    def remedy(self) -> str:
        command = "npm install --global" if self.registry == "npm" else "pipx install"
        return f"`{command} {self.package}`, or name its path in `program`"


def json_lines(output: str) -> Iterator[dict[str, Any]]:
    """The JSON objects among the lines, whatever stands between them."""
    for line in output.splitlines():
        text = line.strip()
        if text.startswith("{") and text.endswith("}"):  # else the parser would say no, after more work
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value


def last_document(output: str) -> dict[str, Any]:
    """The last JSON object that begins at the start of a line, of however many lines; empty when there is none."""
    end = len(output)
    for _ in range(MAX_LINES):
        before = output.rfind("\n", 0, end)
        if output.startswith("{", before + 1):
            found = _document(output, before + 1)
            if isinstance(found, dict):
                return found
        if before < 0:
            break
        end = before
    return {}


def json_events(output: str) -> list[dict[str, Any]]:
    """The objects of the last line that is a JSON list, else those that stand on lines of their own."""
    for line in reversed(output.splitlines()):
        if line.startswith("["):
            found = _document(line, 0)
            if isinstance(found, list):
                return [event for event in found if isinstance(event, dict)]
    return list(json_lines(output))


def _document(text: str, start: int) -> object:
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def table(value: object) -> dict[str, Any]:
    """`value` if it is one, else an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def words(value: object) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def micros(value: object) -> int:
    """Dollars in micro-USD."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return round(value * 1e6) if good and isinstance(value, int | float) else 0
