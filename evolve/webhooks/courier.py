"""The courier: reads on, tells, tries again; beside the page, for that is what runs all the time."""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from evidence.canonical import utcnow
from evidence.store import Store
from evolve.journal import PRODUCT_LEDGER, PROMOTER_LEDGER
from evolve.settings import Settings, WebhookSection
from evolve.webhooks import outbox
from evolve.webhooks.send import send

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
