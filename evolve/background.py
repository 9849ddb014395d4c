"""Work that a long-running process does beside its own, again and again, in a thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from evidence.ledger import LedgerBroken
from evolve.errors import EvolveError

WAIT_AT_END = 15.0


@contextmanager
def again_and_again(
    name: str, work: Callable[[], object], say: Callable[[str], None], pause: float = 2.0
) -> Iterator[None]:
    """Works for as long as the block lasts, with so many seconds between. What breaks is said once, in a line, and
    tried again."""
    stop = threading.Event()

    def go() -> None:
        said = ""
        while True:
            try:
                work()
                said = ""
            except (EvolveError, SQLAlchemyError, LedgerBroken, OSError, ValueError) as error:
                problem = f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
                if problem != said:
                    say(problem)
                said = problem
            if stop.wait(pause):
                return

    thread = threading.Thread(target=go, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(WAIT_AT_END)
