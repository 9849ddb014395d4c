"""`evolve agent`."""

from pathlib import Path

import click

from containers.substrate import ManifestError, load_manifest
from evolve import agent as agents
from evolve.cli.context import open_product, person
from evolve.cli.output import Group, json_option, print_fields, print_json, say
from evolve.cli.progress import Progress
from evolve.errors import BadInput, Refused
from evolve.home import require_home
from evolve.service import Paths, write_configs
from evolve.settings import home_directory, load_settings
from evolve.units import write_units
from promote.keys import machine_key


class AgentGroup(Group):
    default = "status"


@click.group(cls=AgentGroup)
def agent() -> None:
    """The live agent service and the processes around it."""


@agent.command()
@click.option("--reason", default="start", show_default=True, help="Why; kept in the ledger.")
@click.option("--as", "who", help="Who acts; default $EVOLVE_PERSON or the login name.")
@json_option
def start(reason: str, who: str | None, as_json: bool) -> None:
    """Start edge, gateway, promoter and the service; the first time, build and install it."""
    with open_product() as product, Progress() as progress:
        found = agents.start(product, person(who), reason, progress.line)
    print_json(found) if as_json else say(f"the service answers at {found['url']}")


@agent.command()
@json_option
def configure(as_json: bool) -> None:
    """Write what each process is told, for whoever else keeps them running; it needs no database. `make up` calls it."""
    home = home_directory()
    require_home(home)
    settings = load_settings(home)
    try:
        written = write_configs(settings, load_manifest(settings.substrate_repository))
    except ManifestError as error:
        raise BadInput(str(error)) from None
    machine_key(Paths(home).checkpoint_key)
    commands = {name: list(argv) for name, argv in written.items()}
    if as_json:
        print_json(commands)
        return
    print_fields((name, " ".join(argv)) for name, argv in commands.items())


@agent.command()
@click.option("--reason", default="install", show_default=True, help="Why; kept in the ledger.")
@click.option("--as", "who", help="Who acts; default $EVOLVE_PERSON or the login name.")
@json_option
def install(reason: str, who: str | None, as_json: bool) -> None:
    """Wait for processes that something else keeps; the first time, build and install the service. `make up` calls it."""
    with open_product() as product, Progress() as progress:
        agents.install(product, person(who), reason, progress.line)
        found = agents.status(product)
    print_json(found) if as_json else say(f"the service answers at {found['url']}")


@agent.command()
@click.option("--reason", default="stop", show_default=True, help="Why; kept in the ledger.")
@click.option("--as", "who", help="Who acts; default $EVOLVE_PERSON or the login name.")
@json_option
def stop(reason: str, who: str | None, as_json: bool) -> None:
    """Stop everything; the next start goes on with the last good image."""
    with open_product() as product:
        ran = agents.stop(product, person(who), reason)
    print_json({"stopped": ran}) if as_json else say("stopped" if ran else "nothing was running")


@agent.command()
@json_option
def status(as_json: bool) -> None:
    """Who is up, which image is live, where requests go. Exit code 1 when nothing runs."""
    with open_product() as product:
        found = agents.status(product)
    print_json(found) if as_json else print_fields(found.items())
    if not found["running"]:
        raise (
            click.exceptions.Exit(1)
            if as_json
            else Refused("nothing is running", hint="`evolve agent start`")
        )


@agent.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@json_option
def units(folder: Path, as_json: bool) -> None:
    """Write systemd units to FOLDER: the service comes back after a boot, and a timer brings up what died.

    With them in place `systemctl stop evolve` stops the service; after `evolve agent stop` the timer would start it
    again. A file `environment` in $EVOLVE_HOME may hold the model's key.
    """
    with open_product() as product:
        written = [str(path) for path in write_units(product.settings, folder)]
    if as_json:
        print_json({"units": written})
        return
    say("\n".join(written))
    say("systemctl daemon-reload && systemctl enable --now evolve evolve-recover.timer")
