"""Errors for people: one line that says what is wrong, where, and what to do; each kind has one exit code.

EvolveError
├─ Refused       1  the answer is no
├─ BadInput      2  usage or bad input
├─ NotFound      3  no such thing
├─ NeedsConsent  4  a person's decision, or a lock, stands in the way
└─ Broken        5  the environment is broken
"""

from typing import ClassVar


class EvolveError(Exception):
    """Base of everything that ends a command with one line."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def envelope(self) -> dict[str, dict[str, str]]:
        """How a failure is told to a program, by the CLI and by the control API."""
        return {"error": {"kind": self.kind, "message": self.message, "hint": self.hint}}


class Refused(EvolveError):
    """The answer is no: a gate, a verdict or a state of things says so."""

    kind = "refused"
    exit_code = 1


class BadInput(EvolveError):
    """Wrong usage or bad input: what was given can't be used."""

    kind = "bad_input"
    exit_code = 2


class NotFound(EvolveError):
    """There is no such thing."""

    kind = "not_found"
    exit_code = 3


class NeedsConsent(EvolveError):
    """A person's decision, or a lock, stands in the way."""

    kind = "needs_consent"
    exit_code = 4


class Broken(EvolveError):
    """The environment is broken: engine, database, disk, port or a process that should answer."""

    kind = "broken"
    exit_code = 5


ERROR_KINDS = tuple(cls.kind for cls in (Refused, BadInput, NotFound, NeedsConsent, Broken))
