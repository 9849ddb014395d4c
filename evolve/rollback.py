"""A person's word that the service shall go back: out of the swap that is open, or to the previous good image."""

from dataclasses import dataclass

from evolve.errors import BadInput, NeedsConsent
from evolve.product import Product
from evolve.rollback_class import in_words
from evolve.settings import load_settings
from promote.client import PromoterClient
from promote.policy import MAY_APPROVE


@dataclass(frozen=True)
class WayBack:
    """What a rollback would undo as things are now."""

    swap: str
    sentence: str
    """What it does to what users wrote since the release."""


def way_back(promoter: PromoterClient) -> WayBack | None:
    """None: there is nothing to go back from, or no telling what."""
    status = promoter.status()
    opened = status["open"] or status["previous"]
    if not isinstance(opened, dict) or not opened.get("swap"):
        return None
    replays = opened.get("inbox_mark") is not None
    if status["open"] and not opened.get("released"):
        return WayBack(opened["swap"], "nothing was released yet, so nothing that users wrote is lost")
    return WayBack(opened["swap"], in_words(opened.get("approved_class", "same"), replays))


def roll_back(product: Product, *, person: str, reason: str, swap: str | None = None) -> str:
    """Ask the promoter; returns the id of the swap that goes back. `swap`: the one that is meant. Raises BadInput,
    NeedsConsent, Refused with the promoter's reason, Broken when it does not answer."""
    if not reason.strip():
        raise BadInput("a rollback needs a reason")
    known = load_settings(product.settings.home).consent.people.get(person)
    if known is None or not MAY_APPROVE & set(known.roles):
        raise NeedsConsent(f"{person} may not roll back", hint="that takes the role approver")
    return product.ask_promoter(lambda ask: ask.rollback(person, reason.strip(), swap))
