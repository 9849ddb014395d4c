"""Work beside: it goes on whatever breaks, says so once, and ends with its block."""

import threading
import time

from evolve.background import again_and_again
from evolve.errors import Broken


def test_what_breaks_is_said_once_and_tried_again() -> None:
    said: list[str] = []
    calls = threading.Semaphore(0)
    errors = iter([Broken("no disk\nsecond line"), Broken("no disk"), ValueError(), None])

    def work() -> None:
        error = next(errors, None)
        calls.release()
        if error is not None:
            raise error

    with again_and_again("housekeeping", work, said.append, pause=0.01):
        for _ in range(6):
            assert calls.acquire(timeout=60)
    assert said == ["housekeeping: no disk", "housekeeping: ValueError"]
    assert not [thread for thread in threading.enumerate() if thread.name == "housekeeping"]


def test_it_begins_at_once_and_ends_in_its_pause() -> None:
    begun = threading.Event()
    start = time.monotonic()
    with again_and_again("housekeeping", begun.set, print, pause=600):
        assert begun.wait(60)
    assert time.monotonic() - start < 60
