"""The tasks: data in `task_files/*.json`, with nonces that are drawn anew for each seed.

The halves of `split` were assigned before anything ran: `tune` may be looked at, `test` decides and nothing is tuned on it.
A nonce stands as `${name}` in any text; a text that is nothing but one number's nonce becomes that number.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Literal

Json = dict[str, Any]
Split = Literal["tune", "test"]
FOLDER = Path(__file__).parent / "task_files"
CONSONANTS, VOWELS, SYLLABLES = "bdfgklmnprstvz", "aiou", 4
"""Of words: none of them is a word of SQL, for those have an e or two consonants together."""


@dataclass(frozen=True)
class Task:
    """One task with the nonces of one seed."""

    id: str
    split: Split
    kind: str
    seed: int
    request: str
    """All that a planner is told."""
    setup: Json
    oracle: Json
    """A plan, as `workflows.plan` reads it, that does it."""
    verify: Json
    nonces: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Pattern:
    """A task before its nonces are drawn."""

    table: Json

    @property
    def id(self) -> str:
        return str(self.table["id"])

    @property
    def split(self) -> Split:
        split: Split = self.table["split"]
        return split

    def draw(self, seed: int) -> Task:
        nonces = _nonces(self.table["nonces"], random.Random(f"{self.id}:{seed}"))
        parts = {name: _filled(self.table[name], nonces) for name in ("request", "setup", "oracle", "verify")}
        return Task(self.id, self.split, self.table["kind"], seed, **parts, nonces=nonces)


def patterns(split: Split | None = None) -> list[Pattern]:
    """All, or those of a half, in the order of files and of the tasks in them."""
    found = [
        Pattern(table) for path in sorted(FOLDER.glob("*.json")) for table in json.loads(path.read_text())
    ]
    return [pattern for pattern in found if split is None or pattern.split == split]


def draw_all(seed: int, split: Split | None = None) -> list[Task]:
    return [pattern.draw(seed) for pattern in patterns(split)]


def _nonces(kinds: Mapping[str, Any], rng: random.Random) -> dict[str, object]:
    """No two words and no two numbers of a task are equal."""
    drawn: dict[str, object] = {}
    for name, kind in kinds.items():
        value = _nonce(kind, rng)
        while not isinstance(kind, list) and value in drawn.values():
            value = _nonce(kind, rng)
        drawn[name] = value
    return drawn


def _nonce(kind: Any, rng: random.Random) -> object:
    if isinstance(kind, list):
        return rng.choice(kind)
    if kind == "word":
        return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(SYLLABLES))
    if kind == "number":
        return rng.randint(1000, 9999)
    assert kind == "time", kind
    return f"{rng.randint(8, 22):02}:{rng.randint(0, 59):02}"


def _filled(value: Any, nonces: Mapping[str, object]) -> Any:
    if isinstance(value, str):
        alone = value[2:-1] if value.startswith("${") and value.endswith("}") else ""
        return nonces[alone] if isinstance(nonces.get(alone), int) else Template(value).substitute(nonces)
    if isinstance(value, list):
        return [_filled(inner, nonces) for inner in value]
    if isinstance(value, dict):
        return {Template(name).substitute(nonces): _filled(inner, nonces) for name, inner in value.items()}
    return value
