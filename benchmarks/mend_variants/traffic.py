"""The demo's visits, and among them visits with the further questions that this desk answers."""

import random
from dataclasses import dataclass

from evolve.demo.traffic import CURRENCIES, ITEMS, Request, visits

ZONES = (
    *("Europe/Paris", "Europe/Oslo", "Europe/Athens", "Asia/Tokyo", "Asia/Dubai", "Asia/Kolkata"),
    *("America/Lima", "America/Denver", "America/Bogota", "Africa/Cairo", "Africa/Lagos", "Pacific/Auckland"),
)
BRANCHES = ("Harbour", "Market", "Station", "Old Town", "Bridge", "Hill")
CHOICES = {
    "currency": CURRENCIES,
    "units": ("metric", "imperial"),
    "verbosity": ("brief", "normal", "detailed"),
    "language": ("en", "fr", "de", "it", "es"),
}


@dataclass(frozen=True)
class Instructed(Request):
    """A request of a client that sends an instruction of its own along."""

    instruction: str = ""

    @property
    def body(self) -> dict[str, object]:
        body = super().body
        system = [{"role": "system", "content": self.instruction}] if self.instruction else []
        return {**body, "messages": [*system, {"role": "user", "content": self.text}]}


def all_visits(seed: int) -> list[list[Request]]:
    """The same seed gives the same visits."""
    rng = random.Random(f"more:{seed}")
    found = visits(520, seed)
    for kind in (_clock, _basket, _voucher, _settings, _buyer, _letter):
        found += [kind(rng, f"{kind.__name__[1:]}{seed}-{number:03d}") for number in range(45)]
    rng.shuffle(found)
    return found


def _clock(rng: random.Random, session: str) -> list[Request]:
    def ask() -> str:
        source, first, second = rng.sample(ZONES, 3)
        time = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        return f"{time} in {source} is when in {first} and {second}?"

    return [Request(session, ask()) for _ in range(2)]


def _basket(rng: random.Random, session: str) -> list[Request]:
    """Half of the visitors note something before they ask."""
    basket = f"{rng.choice('BCDFGH')}{rng.randint(1000, 9999)}"
    notes = [f"/remember basket {basket}: {rng.randint(1, 9)} {rng.choice(ITEMS)}" for _ in range(2)]
    asks = [f"What is in basket {basket}?", f"And now: what is in basket {basket} by now?"]
    return [Request(session, text) for text in (*notes[: rng.choice((0, 0, 1, 2))], *asks)]


def _voucher(rng: random.Random, session: str) -> list[Request]:
    between = rng.choice(([], [f"Tell me about tea and {rng.choice(ITEMS)}"]))
    return [
        Request(session, text)
        for text in (f"Which voucher goes with {rng.choice(ITEMS)}?", *between, "Say that again, please.")
    ]


def _settings(rng: random.Random, session: str) -> list[Request]:
    """Looks at the settings, asks, changes one of them, looks again."""
    names = rng.sample(sorted(CHOICES), rng.randint(1, 3))
    first = {name: rng.choice(CHOICES[name]) for name in names}
    second = {**first, names[0]: rng.choice(CHOICES[names[0]])}
    return [
        Request(session, text, settings)
        for settings in (first, second)
        for text in ("/settings", f"What does {rng.choice(ITEMS)} cost?")
    ]


def _buyer(rng: random.Random, session: str) -> list[Request]:
    def ask() -> str:
        return f"Please order {rng.randint(10, 60)} {rng.choice(ITEMS)}"

    return [Request(session, ask()) for _ in range(2)]


def _letter(rng: random.Random, session: str) -> list[Request]:
    """A branch's client signs; some clients give no instruction."""
    branch = rng.choice((*BRANCHES, None))
    instruction = f"You write for a shop: sign every letter with {branch}." if branch else ""
    return [
        Instructed(
            session,
            f"Write to customer {rng.randint(100, 999)} that the {rng.choice(ITEMS)} is ready",
            instruction=instruction,
        )
        for _ in range(2)
    ]
