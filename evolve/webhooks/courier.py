"""The courier: reads on, tells, tries again. A thread beside the page, for that is what runs all the time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from evidence.canonical import utcnow
from evidence.ledger import LedgerBroken
from evidence.store import Store
from evolve.settings import Settings, WebhookSection
from evolve.views import PRODUCT_LEDGER, PROMOTER_LEDGER
from evolve.webhooks import outbox
from evolve.webhooks.send import send

PAUSE = 2.0
A_ROUND = 20
"""Messages to one address before the next has its turn."""

Say = Callable[[str], None]


def deliver(settings: Settings, store: Store, say: Say, clock: Callable[[], datetime] = utcnow) -> int:
    """One round: put down what is new, send what is due; returns how many messages were taken. An address that fails is
    left alone for the rest of the round."""
    ledgers = {"product": settings.home / PRODUCT_LEDGER, "promoter": settings.home / PROMOTER_LEDGER}
    outbox.gather(store, ledgers, settings.webhooks, clock())
    return sum(_to(hook, store, say, clock) for hook in settings.webhooks)


def _to(hook: WebhookSection, store: Store, say: Say, clock: Callable[[], datetime]) -> int:
    taken = 0
    for _ in range(A_ROUND):
        row = outbox.claim(store, hook.url, clock())
        if row is None:
            break
        answer = send(hook, row.id, int(clock().timestamp()), row.body.encode())
        if answer.taken:
            outbox.settle_sent(store, row.id)
            taken += 1
            continue
        again = outbox.settle_failed(store, row.id, answer.why, clock(), for_good=answer.gone)
        then = f"tried again at {again:%Y-%m-%d %H:%M:%S} UTC" if again else "given up"
        say(f"webhook {urlsplit(hook.url).hostname}: {row.event} {row.id}: {answer.why}; {then}")
        break
    return taken


@contextmanager
def running(settings: Settings, store: Store, say: Say) -> Iterator[None]:
    """Delivers in a thread of its own for as long as the block lasts. What breaks is said, and tried again."""
    stop = threading.Event()

    def work() -> None:
        said = ""
        while True:
            try:
                deliver(settings, store, say)
                said = ""
            except (SQLAlchemyError, LedgerBroken, ValueError) as error:
                problem = f"webhooks: {type(error).__name__}: {str(error).splitlines()[0]}"
                if problem != said:
                    say(problem)
                said = problem
            if stop.wait(PAUSE):
                return

    thread = threading.Thread(target=work, name="webhooks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=15)
