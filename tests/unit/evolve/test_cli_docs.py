"""What the pages say is enumerated from the code; `python -m evolve.cli.reference docs` brings them up to date."""

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import get_args

import click
import pytest

from evolve import stages
from evolve.cli import reference
from evolve.cli.main import COMMANDS, cli
from evolve.coding.clis import ADAPTERS
from evolve.coding.protocol import CodingOutcome
from evolve.errors import ERROR_KINDS, EvolveError
from evolve.settings import CoderSection, RunSection, Section

DOCS = Path(__file__).parents[3] / "docs"
CLI, CONFIGURATION, PIPELINE, CODERS = (
    (DOCS / name).read_text() for name in ("cli.md", "configuration.md", "pipeline.md", "coders.md")
)


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_generated_parts_are_up_to_date(name: str) -> None:
    wanted = [make().strip("\n") for make in reference.PAGES[name]]
    assert reference.between_marks((DOCS / name).read_text()) == wanted


def test_every_key_has_a_sentence_and_is_on_the_page() -> None:
    keys = dict(reference.settings_keys())
    assert {"run.iterations", "tools.NAME.env", "rules[].file", "consent.people.NAME.roles", "home"} <= set(
        keys
    )
    for path, field in keys.items():
        assert reference.sentence(field).endswith("."), path
        assert f"| `{path.rpartition('.')[2]}` |" in CONFIGURATION


def tables(section: type[Section]) -> list[type[Section]]:
    """Sections that are tables of their own; others only hold what several have in common."""
    return [one for sub in section.__subclasses__() for one in tables(sub)] or [section]


def test_every_section_is_reached() -> None:
    """A new section can't stay out of the reference."""
    seen = {path.rpartition(".")[0] for path, _ in reference.settings_keys()}
    assert len(seen - {"", "verdict", "docker", "live", "swap.hooks[]"}) == len(tables(Section))
    assert {"verdict", "docker", "live", "swap.hooks[]"} <= seen


def test_every_command_has_help_and_every_option_a_sentence() -> None:
    context = click.Context(cli, info_name="evolve")
    for name, (_, _, short) in COMMANDS.items():
        assert short.endswith(".")
        command = cli.get_command(context, name)
        assert command is not None
        for path, found in reference._tree(("evolve", name), command):
            assert found.help, path
            assert f" {' '.join(path)}\n" in CLI


def test_every_kind_of_error_and_exit_code_is_on_the_page() -> None:
    kinds = EvolveError.__subclasses__()
    assert {kind.kind for kind in kinds} == set(ERROR_KINDS)
    assert sorted(kind.exit_code for kind in kinds) == [1, 2, 3, 4, 5]
    for kind in kinds:
        assert f"| `{kind.kind}` | {kind.exit_code} |" in CLI
    assert "130" in CLI


def test_the_pipeline_page_names_every_stage_limit_and_gate() -> None:
    modules = [import_module(f"evolve.stages.{one.name}") for one in pkgutil.iter_modules(stages.__path__)]
    names = [module.__name__.rpartition(".")[2] for module in modules if hasattr(module, "run")]
    assert len(names) == 19
    for name in names:
        assert f"`{name}`" in PIPELINE
    for name in RunSection.model_fields:
        assert f"`{name}`" in PIPELINE


def test_the_page_of_coders_names_every_cli_and_outcome() -> None:
    for outcome in get_args(CodingOutcome):
        assert f"`{outcome}`" in CODERS
    for adapter in ADAPTERS.values():
        assert f"| `{adapter.kind}` | `{adapter.program}` |" in CODERS
        assert adapter.package in CODERS
    assert {*get_args(CoderSection.model_fields["kind"].annotation)} == {"command", *ADAPTERS}
