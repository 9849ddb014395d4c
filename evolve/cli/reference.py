"""`python -m evolve.cli.reference docs`: writes what the code knows into docs/configuration.md and docs/cli.md, between
their marks. The prose around is written by hand; a test compares."""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from evolve.cli.main import COMMANDS, cli
from evolve.errors import EvolveError
from evolve.settings import Settings

BEGIN, END = "<!-- generated: python -m evolve.cli.reference docs -->", "<!-- end -->"
WIDTH = 100


def settings_reference() -> str:
    """Every key with its type, default and sentence, a table a section."""
    tables: dict[str, list[tuple[str, FieldInfo]]] = {}
    for path, field in settings_keys():
        section = path.rpartition(".")[0]
        tables.setdefault(section, []).append((path, field))
    parts = []
    for section, keys in tables.items():
        heading = f"[[{section[:-2]}]]" if section.endswith("[]") else f"[{section}]"
        parts.append(f"### {heading if section else 'Top level'}\n")
        parts.append("| key | type | default | meaning |\n| --- | --- | --- | --- |")
        parts += [
            f"| `{path.rpartition('.')[2]}` | {type_name(field.annotation)} | {default(path, field)} | {sentence(field)} |"
            for path, field in keys
        ]
        parts.append("")
    return "\n".join(parts)


def settings_keys() -> Iterator[tuple[str, FieldInfo]]:
    """Paths as in `evolve.toml`; a name of the operator's own is `NAME`, an entry of a list of tables `[]`. Graders have a
    page of their own."""
    yield from (key for key in _keys("", Settings) if not key[0].startswith("graders"))


def _keys(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    nested = []
    for name, field in model.model_fields.items():
        found = _model_of(field.annotation)
        if found is None:
            yield f"{prefix}{name}", field
        else:
            nested.append((name, *found))
    for name, suffix, models in nested:
        for inner in models:
            yield from _keys(f"{prefix}{name}{suffix}.", inner)


def _model_of(annotation: Any) -> tuple[str, list[type[BaseModel]]] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "", [annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _model_of(inner[0])
    if origin in (Union, UnionType):
        models = [m for part in inner for m in (_model_of(part) or ("", []))[1]]
        return ("", models) if models else None
    if origin in (dict, tuple) and inner and (found := _model_of(inner[-1 if origin is dict else 0])):
        return (".NAME" if origin is dict else "[]") + found[0], found[1]
    return None


def type_name(annotation: Any) -> str:
    """In an operator's words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(inner[0])
    if origin is Literal:
        return " or ".join(f"`{word}`" for word in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_name(part) for part in inner if part is not type(None)))
    if origin in (tuple, list):
        return f"list of {type_name(inner[0])}"
    if origin is dict:
        return f"table of {type_name(inner[1])}"
    names = {
        str: "string",
        int: "integer",
        float: "number",
        bool: "boolean",
        Path: "path",
        SecretStr: "secret",
    }
    return names.get(annotation, "any value")


def default(path: str, field: FieldInfo) -> str:
    if field.is_required():
        return "`$EVOLVE_HOME`" if path == "home" else "required"
    if path == "run.workers":
        return "one more than processors, at most 4"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return "none" if value is None else f"`{json.dumps(value, default=str)}`"


def sentence(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


def commands_reference() -> str:
    """The help of every command, as printed."""
    parts = []
    for name in sorted(COMMANDS):
        context = click.Context(cli, info_name="evolve")
        command = cli.get_command(context, name)
        assert command is not None
        for path, found in _tree(("evolve", name), command):
            chain = click.Context(
                found,
                info_name=" ".join(path),
                max_content_width=WIDTH,
                terminal_width=WIDTH,
                **cli.context_settings,
            )
            level = "###" if len(path) == 2 else "####"
            parts.append(f"{level} {' '.join(path)}\n\n```text\n{found.get_help(chain)}\n```\n")
    return "\n".join(parts)


def _tree(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _tree((*path, name), command.commands[name])


def errors_reference() -> str:
    """The closed set of kinds, each with its exit code."""
    rows = [
        f"| `{kind.kind}` | {kind.exit_code} | {inspect.cleandoc(kind.__doc__ or '')} |"
        for kind in EvolveError.__subclasses__()
    ]
    return "\n".join(["| kind | exit code | meaning |", "| --- | --- | --- |", *rows, ""])


PAGES = {
    "configuration.md": (settings_reference,),
    "cli.md": (errors_reference, commands_reference),
}


def between_marks(text: str) -> list[str]:
    """What a page holds between its marks, in order."""
    return [part.split(END)[0].strip("\n") for part in text.split(BEGIN)[1:]]


def rewritten(text: str, parts: list[str]) -> str:
    head, *rest = text.split(BEGIN)
    assert len(rest) == len(parts), "a page has a pair of marks for each of its parts"
    tails = [part.split(END, 1)[1] for part in rest]
    return head + "".join(
        f"{BEGIN}\n\n{part.strip(chr(10))}\n\n{END}{tail}" for part, tail in zip(parts, tails, strict=True)
    )


def main(folder: Path) -> None:
    for name, makers in PAGES.items():
        path = folder / name
        page = rewritten(path.read_text(encoding="utf-8"), [make() for make in makers])
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
