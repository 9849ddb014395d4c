"""What models cost: `max_usd` can be held for one whose price is known, and for no other."""

from evolve.errors import BadInput
from evolve.settings import Endpoint, RunSection, Settings
from trial.gateway import Price


def prices(section: Endpoint) -> dict[str, Price]:
    """By model name, as a gateway takes them; nothing when the price is unknown."""
    given, made = section.usd_micros_per_million_input, section.usd_micros_per_million_output
    return {} if given is None or made is None else {"*": Price(input=given, output=made)}


def require_price(name: str, section: Endpoint) -> None:
    """Raises BadInput when this table names a model and no price of it."""
    if section.base_url and not prices(section):
        raise BadInput(
            f"[{name}] names a model and not what it costs, so max_usd could not be held",
            hint="set usd_micros_per_million_input and usd_micros_per_million_output; 0 where it costs nothing",
        )


def require_prices(settings: Settings, run: RunSection) -> None:
    """Raises BadInput when this run may ask a model whose price is unknown."""
    require_price("model", settings.model)
    for name in run.everybody:
        if name in settings.coders:
            require_price(f"coders.{name}", settings.coders[name])
