"""`python -m evolve.web`: the page as a process of its own, as the supervisor starts it."""

import signal
import sys
from functools import partial

from evolve import consent
from evolve.background import again_and_again
from evolve.errors import EvolveError
from evolve.product import Product
from evolve.rollback import roll_back
from evolve.settings import home_directory, load_settings
from evolve.settle import settle
from evolve.web.consent import Consent
from evolve.web.server import serve
from evolve.webhooks import courier


def run(product: Product) -> None:
    """Serve the page on an open product; meanwhile follow swaps to their ends and deliver webhooks. People are
    read anew at each request: who is removed is out at once."""

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    for name, person in product.settings.consent.people.items():
        if not person.sign_in.get_secret_value():
            say(f"{name} can't sign in before `evolve people hash {name}`")
    with (
        again_and_again("webhooks", partial(courier.deliver, product.settings, product.store, say), say),
        again_and_again("settling swaps", partial(settle, product), say),
    ):
        serve(
            product.settings,
            product.store,
            consent_of(product),
            say=say,
            people=lambda: load_settings(product.settings.home).consent.people,
        )


def consent_of(product: Product) -> Consent:
    """What the page may ask of an open product."""
    return Consent(
        approve=partial(consent.approve_and_promote, product),
        decline=partial(consent.decline, product),
        check_passphrase=partial(consent.check_passphrase, product),
        roll_back=partial(roll_back, product),
    )


def main() -> int:
    # uvicorn drains, then raises the signal again: this way everything is closed, and being stopped is no
    # failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Product.open(home_directory()) as product:
            run(product)
    except EvolveError as error:
        print(f"evolve: {error.message}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
