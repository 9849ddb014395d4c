"""What coders are told: one file a role, filled in by name. A run stores the hash of each that it used, so that an answer
can be read with the very words that asked for it."""

import hashlib
import secrets
from importlib import resources
from string import Template

NOTHING = "(nothing)"


def fill(name: str, **values: str) -> tuple[str, str]:
    """The prompt of a role with its values, and the hash of its file.

    `$fence` is drawn anew: text of strangers that stands between two such lines can't know it, so it can't leave them.
    """
    given = {key: text or NOTHING for key, text in values.items()}
    return Template(_source(name)).substitute(given, fence=draw_fence()), digest_of(name)


def digest_of(name: str) -> str:
    """Of the file of a role's prompt."""
    return "sha256:" + hashlib.sha256(_source(name).encode()).hexdigest()


def fence_of(text: str) -> str:
    """A fence for a text that is there already: none can hold its own hash. The same at every try, so that what was done
    behind it is found again."""
    return f"evidence-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def draw_fence() -> str:
    """A line that no text of strangers can hold, for nobody knew it when they wrote."""
    return f"evidence-{secrets.token_hex(8)}"


def _source(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8")
