"""Clients that send numbered turns through swaps, and what became of them."""

import http.client
import json
import re
import threading
import time
from dataclasses import dataclass, field
from itertools import cycle

from promote_clients import Reply, Stream, text_of, turn
from promote_rig import Rig, until

from evidence.canonical import new_id


@dataclass(frozen=True)
class Sent:
    """A turn that was answered, in its sender's order."""

    request_id: str
    session: str
    status: int
    count: int
    began: float
    """Unix seconds."""
    seconds: float
    cuts: int = 0
    """How often its stream was cut and read on behind the last event."""

    @property
    def at(self) -> float:
        """When the answer was there, as the ledger's rows tell it."""
        return self.began + self.seconds


@dataclass
class Session:
    """A conversation, and the right answer of its next turn. `remembers`: every second turn asks for all before it."""

    name: str
    tiny: bool
    remembers: bool
    asked: int = 0
    notes: list[str] = field(default_factory=list)

    def next(self, request_id: str) -> tuple[str, str]:
        """What is said, and the right answer; none where any will do."""
        self.asked += 1
        if not self.tiny:
            return f"/remember {request_id}", ""
        if not self.remembers:
            return f"echo {request_id}", request_id
        if self.asked % 2 == 0:
            return "recall", ", ".join(self.notes)
        self.notes.append(request_id)
        return f"remember {request_id}", "remembered"


class Traffic:
    """Clients that send numbered turns without pause, each in its `sessions` by turns; some keep their connection, some
    stream. All ask once but who streams: a stream that had begun and was cut is read on. `again`: one whose connection
    broke asks again, with the same id, for a minute: so does a client whose edge was killed."""

    def __init__(
        self,
        rig: Rig,
        clients: int = 4,
        pause: float = 0.01,
        again: bool = False,
        sessions: int = 1,
        remembers: bool = False,
    ) -> None:
        self.rig, self.pause = rig, pause
        self._patience = 60.0 if again else 0.0
        self._sessions, self._remembers = sessions, remembers
        self._tiny = rig.images.substrate == "tiny"
        self.sent: list[Sent] = []
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def reach(self, count: int, seconds: float) -> None:
        """Wait until so many turns are behind us."""
        until(lambda: len(self.sent) + len(self.errors) >= count, seconds)

    def _run(self, number: int) -> None:
        keep, stream = number % 2 == 0, number % 4 == 3
        link: http.client.HTTPConnection | None = None
        names = [f"client-{number}-{new_id()}" for _ in range(self._sessions)]
        sessions = cycle([Session(name, self._tiny, self._remembers) for name in names])
        while not self._stop.is_set():
            session = next(sessions)
            request_id, began, started = new_id(), time.time(), time.monotonic()
            said, right = session.next(request_id)
            reading = Stream(said, session.name, request_id) if stream else None
            cuts = 0
            while True:
                begun = reading.begun if reading else 0
                link = link or http.client.HTTPConnection("127.0.0.1", self.rig.port, timeout=65)
                try:
                    reply = reading.read(link) if reading else turn(link, said, session.name, request_id)
                    took = time.monotonic() - started
                    self._answered(reply, right, request_id, session.name, began, took, cuts)
                    break
                except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
                    link.close()
                    link = None
                    wrong = isinstance(error, AssertionError)
                    cut = reading is not None and reading.begun > begun and not wrong
                    if not cut and time.monotonic() - started >= self._patience:
                        with self._lock:
                            self.errors.append(f"{type(error).__name__}: {error}")
                        break
                    cuts += cut
                    time.sleep(0.0 if cut else 0.05)
            if not keep and link is not None:
                link.close()
                link = None
            time.sleep(self.pause)
        if link is not None:
            link.close()

    def _answered(
        self, reply: Reply, right: str, request_id: str, session: str, began: float, took: float, cuts: int
    ) -> None:
        status, body = reply
        applied = body.get("applied")
        count = int(applied["count"]) if isinstance(applied, dict) else 0
        with self._lock:
            self.sent.append(Sent(request_id, session, status, count, began, took, cuts))
            if right and status == 200 and text_of(body) != right:
                self.errors.append(f"{request_id} was answered with {text_of(body)!r}, not {right!r}")

    def _applied(self, session: str) -> list[str]:
        """The ids that took effect, in order, as the service tells them."""
        if not self._tiny:
            _, reply = self.rig.ask("/recall", session)
            return re.findall(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", str(reply["choices"]))
        link = http.client.HTTPConnection("127.0.0.1", self.rig.port, timeout=60)
        try:
            link.request("GET", f"/v1/sessions/{session}")
            answer = link.getresponse()
            told = json.loads(answer.read())
            assert "applied" in told, (answer.status, told)
            return list(told["applied"])
        finally:
            link.close()

    def lost_or_doubled(self) -> list[str]:
        """What the service's own list of applied ids says against what the clients were told."""
        problems = list(self.errors)
        sessions: dict[str, list[Sent]] = {}
        for item in self.sent:
            sessions.setdefault(item.session, []).append(item)
        for session, items in sessions.items():
            mine = [item for item in items if item.status == 200]
            applied = self._applied(session)
            place = {request_id: number for number, request_id in enumerate(applied, start=1)}
            if len(place) != len(applied):
                problems.append(f"{session}: doubled")
            missing = [item for item in mine if item.request_id not in place]
            if missing:
                problems.append(f"{session}: {len(missing)} answered requests are not in the state")
            places = [place[item.request_id] for item in mine if item.request_id in place]
            if places != sorted(places):
                problems.append(f"{session}: applied in another order than asked: {places}")
            if self._tiny and not missing and [item.count for item in mine] != places:
                problems.append(f"{session}: a turn did not see the ones before it")
        return problems
