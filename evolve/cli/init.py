"""`evolve init`."""

from functools import partial
from pathlib import Path

import click

from evolve import substrates, worktree
from evolve.cli.output import json_option, print_json, say
from evolve.errors import BadInput
from evolve.home import create_home
from evolve.settings import home_directory


@click.command()
@click.option(
    "--home", type=click.Path(path_type=Path), help="Folder to make; default $EVOLVE_HOME or ./.evolve."
)
@click.option("--from", "source", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="A folder with your service and its substrate.toml.")  # fmt: skip
@click.option("--tiny", is_flag=True, help="Start from the tiny example service.")
@click.option("--solo", is_flag=True, help="One person may request and approve; shown on every approval.")
@json_option
def init(home: Path | None, source: Path | None, tiny: bool, solo: bool, as_json: bool) -> None:
    """Make $EVOLVE_HOME with a substrate: the bundled harness, the tiny example, or your own service."""
    if source is not None and tiny:
        raise BadInput("--from and --tiny exclude each other")
    target = (home or home_directory()).absolute()
    bundled = substrates.export_tiny if tiny else substrates.export_harness
    lay_out = bundled if source is None else partial(_import, source)
    commit = create_home(target, lay_out, "solo" if solo else "separate")
    if as_json:
        print_json({"home": str(target), "commit": commit})
        return
    say(f"made {target}; its substrate is at commit {commit[:12]}")
    say(
        f"next: export EVOLVE_HOME={target}; evolve people add NAME --role approver; evolve doctor; evolve agent start"
    )


def _import(source: Path, tree: Path) -> None:
    """Copy somebody's service; what is not committed there would be lost to its history. Raises BadInput."""
    if (source / ".git").exists() and worktree.is_dirty(source):
        raise BadInput(f"{source}: has uncommitted changes", hint="commit or stash them first")
    substrates.copy_tree(source, tree)
