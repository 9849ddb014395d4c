"""`evolve config`."""

import json

import click

from evolve.cli.output import json_option, print_json
from evolve.settings import home_directory, load_settings


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Print every setting in force. Secrets are hidden."""
    settings = load_settings(home_directory())
    table = json.loads(settings.model_dump_json())
    if as_json:
        print_json(table)
        return
    for name, value in sorted(_flatten("", table)):
        click.echo(f"{name} = {json.dumps(value)}")


def _flatten(prefix: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict) and value:
        return [
            pair
            for key, item in value.items()
            for pair in _flatten(f"{prefix}.{key}" if prefix else key, item)
        ]
    return [(prefix, value)]
