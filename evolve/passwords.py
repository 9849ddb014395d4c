"""Is it this person? What the page asks before it opens a session, and one answer: Argon2id hashes in `evolve.toml`.

Signing in opens nothing but the page. Consent is a signature and takes the person's key, which has an encryption of its
own.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from evolve.settings import Person

AT_ONCE = 2
"""Hashes under way at one time: each takes its memory, and the page has more threads than that."""


class PasswordVerifier(Protocol):
    """Who stands behind the sign-in form. Another way to know people (a directory, single sign-on) is another of these."""

    def __call__(self, person: str, password: str) -> bool:
        """Never raises, and takes as long for a name that nobody has as for a wrong password."""
        ...


@dataclass(frozen=True)
class Cost:
    """The second choice of RFC 9106, for machines that can't give 2 GiB to a sign-in: some 0.1 s of two processors. Who
    stole the hashes pays as much for each guess, and 64 MiB keep graphics cards from guessing thousands at a time."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4


def hash_password(password: str, cost: Cost = Cost()) -> str:
    """In PHC form, with its parameters and 16 random bytes of salt: a later choice of costs leaves old hashes valid."""
    argon = Argon2id(
        salt=os.urandom(16),
        length=32,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return argon.derive_phc_encoded(password.encode("utf-8", "surrogatepass"))


class StoredHashes:
    """A PasswordVerifier over the hashes of registered people, who are asked for anew each time."""

    def __init__(self, people: Callable[[], Mapping[str, Person]], cost: Cost = Cost()) -> None:
        self._people = people
        self._cost = cost
        self._turn = threading.BoundedSemaphore(AT_ONCE)

    def __call__(self, person: str, password: str) -> bool:
        known = self._people().get(person)
        stored = known.sign_in.get_secret_value() if known is not None else ""
        with self._turn:
            fits = _fits(password, stored or self._decoy)
        return fits and bool(stored)

    @cached_property
    def _decoy(self) -> str:
        """Tried in vain for whoever has no hash."""
        return hash_password(os.urandom(32).hex(), self._cost)


def _fits(password: str, stored: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), stored)
    except (InvalidKey, ValueError):
        return False
    return True
