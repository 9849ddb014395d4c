"""How far replays are, for whoever watches; nothing is decided by it."""

from pydantic import Field

from trial.report import Frozen


class Progress(Frozen):
    """`done` of `planned` replays; fewer will do where a verdict stands earlier."""

    done: int = Field(ge=0)
    planned: int = Field(ge=0)
    split: str = ""
    """Whose cases are replayed; empty outside of a comparison."""
    e_value: float | None = None
    """The evidence for a gain so far; None where none is gathered."""
    e_needed: float | None = None
