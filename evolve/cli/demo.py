"""`evolve demo`."""

import sys
from pathlib import Path

import click

from evolve.cli.output import json_option, print_json, say


@click.command()
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default=Path(".evolve-demo"), show_default=True
)
@click.option(
    "--yes", is_flag=True, help="Approve without asking; so it is where standard input is no terminal."
)
@json_option
def demo(folder: Path, yes: bool, as_json: bool) -> None:
    """A service with three planted defects, mended from its own failures; two drills; a table of before and after."""
    from evolve.demo.play import play

    silent = yes or not sys.stdin.isatty()
    home = folder.absolute()
    report = play(home, lambda question: silent or click.confirm(question, err=True), show=not as_json)
    if as_json:
        print_json(report)
    say(
        f"look at what it did:  EVOLVE_HOME={home} {Path(sys.argv[0]).name} serve   (passphrase: see {home}/demo.json)"
    )
    if not report.went_well:
        raise click.exceptions.Exit(1)
