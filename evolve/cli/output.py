"""How the CLI speaks: JSON alone on stdout with `--json`, prose and progress on stderr, one envelope for failures."""

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evolve.errors import EvolveError
from evolve.sanitize import for_terminal, one_line

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
reason_option = click.option("--reason", required=True, help="Why; kept in the ledger.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, do nothing.")


def plain(value: object) -> Any:
    """Models, dataclass-free: what `json.dumps` takes."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_json(value: object) -> None:
    click.echo(json.dumps(plain(value), ensure_ascii=False, default=str))


def say(text: str) -> None:
    """Prose for people, on stderr."""
    click.echo(for_terminal(text), err=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A listing on stdout; every cell is treated as hostile text."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column)
    count = 0
    for row in rows:
        table.add_row(*(Text(for_terminal(str(cell))) for cell in row))
        count += 1
    if count == 0:
        say(empty)
        return
    console = Console()
    console.print(table) if console.is_terminal else Console(width=200).print(table)


def print_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """A detail view: one `name  value` a line."""
    shown = [(for_terminal(name), for_terminal(str(value))) for name, value in pairs]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {value}")


def fail(error: EvolveError, as_json: bool) -> None:
    """Print one error the way the caller asked for."""
    if as_json:
        click.echo(json.dumps(error.envelope, ensure_ascii=False))
    else:
        say(f"evolve: {error.message}" + (f" ({error.hint})" if error.hint else ""))


def require_command(ctx: click.Context, name: str, known: Iterable[str]) -> None:
    """A wrong word is answered with the nearest right one."""
    if name in known or name.startswith("-"):
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(known))}"
    ctx.fail(f"no command {one_line(name)!r} here{hint}")


class Group(click.Group):
    """A noun: its bare form lists, a wrong verb answers with the right spelling."""

    default: str | None = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wants_list = not args or (args[0].startswith("-") and args[0] not in ("--help", "-h"))
        if self.default and wants_list and self.default in self.commands:
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        require_command(ctx, args[0], self.commands)
        return super().resolve_command(ctx, args)
