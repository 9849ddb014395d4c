"""`evolve serve`."""

import click

from evolve.cli.context import open_product


@click.command()
def serve() -> None:
    """Serve the approval page on loopback until interrupted."""
    from evolve.web.__main__ import run

    with open_product() as product:
        run(product)
