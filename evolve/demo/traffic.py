"""The demo's simulated users: sessions of ordinary questions, sent as real HTTP requests to the edge.

Nothing in here says which request will fail or why. Users who notice something wrong may flag a turn; they never say
what the right answer would have been.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import httpx2

from evidence.canonical import new_id

ITEMS = (
    *("apple", "pear", "plum", "fig", "kiwi", "lemon", "lime", "mango", "melon", "peach", "quince", "cherry"),
    *(
        "rope",
        "nail",
        "screw",
        "hinge",
        "latch",
        "lamp",
        "chair",
        "table",
        "shelf",
        "mirror",
        "carpet",
        "vase",
    ),
    *("pen", "ink", "paper", "ruler", "brush", "easel", "clay", "glue", "tape", "string", "stamp", "card"),
)
CURRENCIES = ("EUR", "GBP", "CHF", "JPY")
TOPICS = (
    "the weather",
    "a good book",
    "opening hours",
    "parking",
    "gift wrapping",
    "delivery",
    "the garden",
    "tea",
)


@dataclass(frozen=True)
class Request:
    """One turn of one user."""

    session: str
    text: str
    settings: dict[str, str] = field(default_factory=dict, hash=False)
    stream: bool = False

    def again(self) -> "Request":
        """The same question in a session of another name."""
        return replace(self, session=f"{self.session}-again")

    @property
    def body(self) -> dict[str, object]:
        body: dict[str, object] = {
            "model": "default",
            "messages": [{"role": "user", "content": self.text}],
            "stream": self.stream,
        }
        if self.settings:
            body["settings"] = self.settings
        return body


@dataclass(frozen=True)
class Answer:
    """What a user got. `lost`: no correct HTTP answer within 60 s."""

    request: Request
    request_id: str
    status: int
    text: str
    lost: bool


def visits(count: int, seed: int) -> list[list[Request]]:
    """Sessions with together at least `count` requests; the same seed gives the same visits."""
    rng = random.Random(f"visits:{seed}")
    found: list[list[Request]] = []
    while sum(map(len, found)) < count:
        found.append(_visit(rng, f"s{seed}-{len(found):04d}"))
    return found


def _visit(rng: random.Random, session: str) -> list[Request]:
    # A buyer abroad says the currency with every request, as the shop's own client does; others never do.
    settings = {"currency": rng.choice(CURRENCIES)} if rng.random() < 0.35 else {}
    asks = rng.choices((_stock, _price, _order, _talk), weights=(25, 17, 14, 44), k=rng.randint(2, 4))
    return [Request(session, ask(rng), settings, stream=rng.random() < 0.15) for ask in asks]


def _stock(rng: random.Random) -> str:
    items = rng.sample(ITEMS, rng.choice((1, 2, 2, 3)))
    return f"How many {' and '.join([', '.join(items[:-1]), items[-1]]) if items[1:] else items[0]} are in stock?"


def _price(rng: random.Random) -> str:
    return f"What does {rng.choice(ITEMS)} cost?" + rng.choice(
        ("", " I am in a hurry.", " Just curious.", " Thanks!")
    )


def _order(rng: random.Random) -> str:
    return f"Please order {rng.randint(21, 90) if rng.random() < 0.45 else rng.randint(1, 20)} {rng.choice(ITEMS)}"


def _talk(rng: random.Random) -> str:
    return rng.choice(
        (
            f"Tell me about {rng.choice(TOPICS)} and {rng.choice(ITEMS)}",
            f"Do you like {rng.choice(ITEMS)} or {rng.choice(ITEMS)} better?",
            f"I was here {rng.randint(1, 400)} days ago because of {rng.choice(TOPICS)}",
            "What did I ask you before?",
        )
    )


class Users:
    """Sends visits to the edge, several users at a time; the turns of one session stay in order."""

    def __init__(self, base_url: str, at_a_time: int = 6) -> None:
        self.base_url = base_url
        self.at_a_time = at_a_time

    def send(self, sessions: Sequence[Sequence[Request]], progress: Callable[[int], None]) -> list[Answer]:
        """Send everything once; `progress` gets the number of answers so far."""
        answers: list[Answer] = []
        lock = threading.Lock()
        limits = httpx2.Limits(max_connections=self.at_a_time)
        with httpx2.Client(base_url=self.base_url, timeout=60.0, limits=limits) as client:

            def visit(requests: Sequence[Request]) -> None:
                for request in requests:
                    answer = send_one(client, request)
                    with lock:
                        answers.append(answer)
                        progress(len(answers))

            with ThreadPoolExecutor(self.at_a_time) as pool:
                list(pool.map(visit, sessions))
        return answers


def send_one(client: httpx2.Client, request: Request) -> Answer:
    request_id = new_id()
    headers = {"x-request-id": request_id, "x-session": request.session}
    try:
        response = client.post("/v1/chat/completions", json=request.body, headers=headers)
    except httpx2.HTTPError as error:
        return Answer(request, request_id, 0, str(error), lost=True)
    return Answer(request, request_id, response.status_code, response.text, lost=response.status_code != 200)


def flag(base_url: str, request_id: str, comment: str) -> None:
    """A user's thumb down, through the service's own interface."""
    body = {"request_id": request_id, "rating": "down", "comment": comment}
    httpx2.post(f"{base_url}/v1/feedback", json=body, timeout=60.0).raise_for_status()


class Background:
    """Continuous traffic from a thread, for swaps and bakes; counts what was sent and lost."""

    def __init__(self, base_url: str, seed: int, pause: float = 0.02) -> None:
        self._users = Users(base_url, at_a_time=3)
        self._seed = seed
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background-traffic")
        self.answers: list[Answer] = []

    def _run(self) -> None:
        for batch in self._batches():
            if self._stop.wait(self._pause):
                return
            self.answers += self._users.send(batch, lambda _: None)

    def _batches(self) -> Iterator[list[list[Request]]]:
        for number in range(1_000_000):
            yield visits(6, self._seed * 1_000_003 + number)

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def lost(self) -> int:
        return sum(answer.lost for answer in self.answers)
