"""Options that commands of `evolve workflow` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evolve.errors import BadInput

if TYPE_CHECKING:
    from evolve.workflow_run import ModelAddress  # imports mcp, which takes a second

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)

catalog_option = click.option(
    "--catalog", "servers", type=FILE, required=True, help="File with mcpServers: where the tools are."
)
cache_option = click.option(
    "--cache", type=FILE, help="Remember listings, and types of results, in this file."
)
parallel_option = click.option(
    "--parallel", type=click.IntRange(1), default=8, show_default=True, help="Calls at once."
)


def model_options(command: F) -> F:
    """Gives it base_url, model and api_key_file, for `model_address`."""
    command = click.option("--api-key-file", type=FILE, help="Where its key stands.")(command)
    command = click.option("--model", help="Its name.")(command)
    help_text = "Of an OpenAI-compatible model for model steps, with its version."
    return click.option("--base-url", help=help_text)(command)


def model_address(base_url: str | None, model: str | None, api_key_file: Path | None) -> ModelAddress | None:
    """None: no model was named. Raises BadInput."""
    from evolve.workflow_run import ModelAddress

    if (base_url is None) != (model is None):
        raise BadInput("--base-url and --model go together")
    return ModelAddress(base_url, model, api_key_file) if base_url and model else None
