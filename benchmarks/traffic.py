"""Clients that ask one turn after another, and what they saw: when answers came, how long one took, what was lost."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from evidence.canonical import new_id

LOST_AFTER = 60.0
"""Seconds without a right answer after which a request counts as lost; a refused connection counts at once."""
Connect = Callable[[], http.client.HTTPConnection]


@dataclass(frozen=True)
class Asked:
    began: float
    ended: float
    right: bool


class Traffic:
    """`clients` threads, each with a fresh connection a turn and `pause` seconds between turns."""

    def __init__(self, connect: Connect, clients: int = 4, pause: float = 0.005) -> None:
        self._connect, self._pause = connect, pause
        self._asked: list[Asked] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def answered(self, count: int, within: float = 60.0) -> None:
        """Wait for so many more right answers."""
        before, end = self._right(), time.monotonic() + within
        while self._right() < before + count:
            if time.monotonic() > end:
                raise SystemExit(f"the service did not answer {count} times within {within:g} s")
            time.sleep(0.01)

    def longest_gap(self, since: float, until: float) -> float:
        """Milliseconds between two right answers, at the longest, from one time to another (both by `monotonic`)."""
        times = sorted(one.ended for one in list(self._asked) if one.right)
        gaps = [after - before for before, after in pairwise(times) if after >= since and before <= until]
        return 1000 * max(gaps, default=0.0)

    def lost(self, since: float) -> int:
        return sum(not one.right for one in list(self._asked) if one.began >= since)

    def count(self, since: float) -> int:
        return sum(one.began >= since for one in list(self._asked))

    def _right(self) -> int:
        return sum(one.right for one in list(self._asked))

    def _client(self) -> None:
        session = f"bench-{new_id()}"
        while not self._over.is_set():
            began = time.monotonic()
            right = self._ask(session, new_id())
            self._asked.append(Asked(began, time.monotonic(), right))
            time.sleep(self._pause)

    def _ask(self, session: str, word: str) -> bool:
        link = self._connect()
        body = json.dumps({"messages": [{"role": "user", "content": f"echo {word}"}]})
        headers = {"content-type": "application/json", "x-session": session, "x-request-id": word}
        try:
            link.request("POST", "/v1/chat/completions", body, headers)
            answer = link.getresponse()
            return answer.status == 200 and word.encode() in answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()
