"""`evolve people`."""

import sys

import click

from evolve import views
from evolve.cli.output import Group, json_option, print_json, print_table, say
from evolve.home import add_person, renew_hash, require_home
from evolve.settings import home_directory, load_settings

ROLES = ("viewer", "operator", "approver", "admin")


@click.group(cls=Group)
def people() -> None:
    """The people who may look, operate and approve."""


@people.command("list")
@json_option
def list_people(as_json: bool) -> None:
    """Who is registered, with which roles."""
    found = views.list_people(load_settings(home_directory()))
    if as_json:
        print_json(found)
        return
    print_table(("name", "roles"), [(p.name, ", ".join(p.roles)) for p in found], "nobody is registered")


@people.command()
@click.argument("name")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, default=("operator", "approver"))
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input.")
@json_option
def add(name: str, roles: tuple[str, ...], passphrase_stdin: bool, as_json: bool) -> None:
    """Make a key for a person, encrypted with a passphrase, and register its public half."""
    home = home_directory()
    require_home(home)
    public = add_person(load_settings(home), name, roles, ask_passphrase(passphrase_stdin, confirm=True))
    if as_json:
        print_json({"name": name, "roles": roles, "public_key": public})
    else:
        say(f"{name} may now be: {', '.join(roles)}")


@people.command("hash")
@click.argument("name")
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input.")
@json_option
def hash_(name: str, passphrase_stdin: bool, as_json: bool) -> None:
    """Store the hash of a person's passphrase anew, by which the page knows them."""
    home = home_directory()
    require_home(home)
    renew_hash(load_settings(home), name, ask_passphrase(passphrase_stdin))
    print_json({"name": name}) if as_json else say(f"{name} may sign in at the page")


def ask_passphrase(from_stdin: bool, confirm: bool = False) -> str:
    """From standard input when asked for, else hidden at the terminal; never from argv or environment."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    answer: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return answer
