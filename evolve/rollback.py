"""A person's word that the service shall go back: out of the swap that is open, or to the previous good image."""

from evolve.errors import BadInput, NeedsConsent
from evolve.product import Product
from promote.policy import MAY_APPROVE


def roll_back(product: Product, *, person: str, reason: str) -> str:
    """Ask the promoter; returns the id of the swap that goes back. Raises BadInput, NeedsConsent, Refused with the
    promoter's reason, Broken when it does not answer."""
    if not reason.strip():
        raise BadInput("a rollback needs a reason")
    known = product.settings.consent.people.get(person)
    if known is None or not MAY_APPROVE & set(known.roles):
        raise NeedsConsent(f"{person} may not roll back", hint="that takes the role approver")
    return product.ask_promoter(lambda ask: ask.rollback(person, reason.strip()))
