"""`evolve worker`."""

import click

from evolve import jobs
from evolve.cli.output import say
from evolve.home import require_home
from evolve.settings import home_directory, load_settings


@click.command()
@click.option("--once", is_flag=True, help="Stop when nothing is left to do.")
def worker(once: bool) -> None:
    """Serve the queue of detached runs, with an embedded Valkey where no redis_url is set."""
    home = home_directory()
    require_home(home)
    jobs.serve(load_settings(home), say, once)
