"""How commands open the product, and who they speak for."""

import getpass
import os

from evolve.product import Product
from evolve.settings import home_directory

PERSON_VARIABLE = "EVOLVE_PERSON"


def open_product() -> Product:
    """For one command; use as a context manager. Raises NotFound, BadInput or Broken."""
    return Product.open(home_directory())


def person(given: str | None = None) -> str:
    """Who acts: `--as`, else $EVOLVE_PERSON, else the login name."""
    return given or os.environ.get(PERSON_VARIABLE) or getpass.getuser()
