"""The file that names the MCP servers: the usual `{"mcpServers": {NAME: …}}`, with a few additions of ours.

Of a server: `state`, `tools`, `failures`, `protocol`; beside `mcpServers`: `contracts`. What other programs keep in the same
file is left alone, but a key that looks like a slip of one of ours is an error. `${NAME}` and `${NAME:-default}` in a
command, an argument, an address, a header or an environment value stand for a variable of our own environment.
"""

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from workflows.catalog import Contract, Move, ToolSpec
from workflows.graph import NAME_PATTERN, TOOL_PATTERN, Effect, Name, ToolKey

SERVER_PATTERN = r"^[A-Za-z0-9_.-]+$"
ServerName = Annotated[str, StringConstraints(pattern=SERVER_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1)]
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_FORMS = {
    SERVER_PATTERN: "a name of letters, digits, '.', '_' and '-'",
    NAME_PATTERN: "a lower-case name",
    TOOL_PATTERN: "server/tool",
}
_KINDS = {"tuple_type": "a list", "mapping_type": "an object", "model_type": "an object"}


class ServersFileError(ValueError):
    """One line: the file, the place in it, and what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Tolerant(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    @model_validator(mode="after")
    def _no_slip(self) -> Self:
        ours = {name.lower(): name for name in type(self).model_fields}
        for name in self.model_extra or {}:
            meant = difflib.get_close_matches(name.lower(), ours, 1, 0.8)
            if meant:
                raise ValueError(f"there is no key {name!r}; {ours[meant[0]]!r} is one")
        return self


class ToolOverride(_Strict):
    """What the operator knows better than the server says."""

    effect: Effect | None = None
    idempotent: bool | None = None


class ServerEntry(_Tolerant):
    command: Text | None = None
    """A program on PATH, or a path."""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    """All that the server's environment has beside HOME, LOGNAME, PATH, SHELL, TERM and USER."""
    cwd: Text = "."
    url: Text | None = None
    """Of a server that speaks streamable HTTP."""
    headers: Mapping[str, str] = {}
    type: str | None = None
    disabled: bool = False
    state: tuple[Text, ...] | None = None
    """Files and folders that hold what the server remembers, for resets. Empty: it remembers only while it runs. Left out:
    a reset does not touch it."""
    tools: Mapping[str, ToolOverride] = {}
    failures: tuple[Text, ...] = ()
    """Beginnings of texts by which this server tells of a failure that it does not mark as one."""
    protocol: Literal["auto", "legacy"] = "auto"
    """`legacy`: the handshake of 2025-11-25 and before, for a server that can't bear to be asked for a newer one."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("give it either a 'command' or a 'url'")
        if self.type == "sse":
            raise ValueError("the old SSE transport is not spoken; give the address of its streamable HTTP")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("'url' has to begin with http:// or https://")
        return self

    def corrected(self, specs: Iterable[ToolSpec]) -> list[ToolSpec]:
        """With what `tools` says in the place of what the server says."""
        return [
            _corrected(spec, self.tools[spec.name]) if spec.name in self.tools else spec for spec in specs
        ]


class _Move(_Strict):
    allowed: Annotated[tuple[Name, ...], Field(min_length=1)]
    to: Name | None = None


class _Contract(_Strict):
    name: Name
    start: Name
    tools: Mapping[ToolKey, _Move]


class ServersFile(_Tolerant):
    mcpServers: Mapping[ServerName, ServerEntry]
    contracts: tuple[_Contract, ...] = ()

    @property
    def servers(self) -> dict[str, ServerEntry]:
        """Those that are not disabled, by name."""
        return {name: entry for name, entry in sorted(self.mcpServers.items()) if not entry.disabled}

    def as_contracts(self) -> tuple[Contract, ...]:
        return tuple(
            Contract(
                found.name,
                found.start,
                {key: Move(move.allowed, move.to) for key, move in found.tools.items()},
            )
            for found in self.contracts
        )


def read_servers_file(path: Path, environment: Mapping[str, str] | None = None) -> ServersFile:
    """With every path absolute, relative ones being relative to the file. Raises ServersFileError."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ServersFileError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ServersFileError(f"{path}: not JSON: {error}") from None
    return read_servers(data, path, os.environ if environment is None else environment)


def read_servers(data: object, path: Path, environment: Mapping[str, str]) -> ServersFile:
    """The same, of what stands in the file at `path`. Raises ServersFileError."""
    try:
        found = ServersFile.model_validate(_filled_in(data, path, environment))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise ServersFileError(f"{path}: {_shown(place) + ': ' if place else ''}{_said(first)}") from None
    folder = path.parent.absolute()
    entries = {name: _placed(entry, folder) for name, entry in found.mcpServers.items()}
    return found.model_copy(update={"mcpServers": entries})


def _corrected(spec: ToolSpec, said: ToolOverride) -> ToolSpec:
    effect, idempotent = said.effect or spec.effect, spec.idempotent
    # what changes nothing may be repeated, which says nothing about what does
    if "read" in (effect, spec.effect) and effect != spec.effect:
        idempotent = effect == "read"
    return replace(spec, effect=effect, idempotent=idempotent if said.idempotent is None else said.idempotent)


def _placed(entry: ServerEntry, folder: Path) -> ServerEntry:
    changed: dict[str, object] = {"cwd": str(folder / entry.cwd)}
    if entry.command is not None and "/" in entry.command:
        changed["command"] = str(folder / entry.command)
    if entry.state is not None:
        changed["state"] = tuple(str(folder / Path(name).expanduser()) for name in entry.state)
    return entry.model_copy(update=changed)


def _said(problem: Any) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "unknown key; remove it"
    if kind == "string_pattern_mismatch":
        return f"expected {_FORMS[context['pattern']]}, found {problem['input']!r:.80}"
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, found {problem['input']!r:.80}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message.replace("Input should be", "expected")


def _shown(place: str) -> str:
    """On one line: a key may be any text."""
    return place if place.isprintable() else repr(place)[1:-1]


def _filled_in(data: object, path: Path, environment: Mapping[str, str]) -> object:
    """With the variables' values in the servers' commands, arguments, addresses, headers and environments."""
    servers = data.get("mcpServers") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(servers, dict):
        return data

    def filled(value: object, place: str) -> object:
        if isinstance(value, dict):
            return {name: filled(inner, f"{place}.{name}") for name, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner, f"{place}.{index}") for index, inner in enumerate(value)]
        return _VARIABLE.sub(lambda found: known(found, place), value) if isinstance(value, str) else value

    def known(found: re.Match[str], place: str) -> str:
        value = environment.get(found[1]) or found[2]
        if value is None:
            raise ServersFileError(f"{path}: {_shown(place)}: the environment has no {found[1]}; set it")
        return value

    entries = {
        name: {
            key: filled(value, f"mcpServers.{name}.{key}") if key in _WITH_VARIABLES else value
            for key, value in entry.items()
        }
        if isinstance(entry, dict) and entry.get("disabled") is not True
        else entry
        for name, entry in servers.items()
    }
    return {**data, "mcpServers": entries}


_WITH_VARIABLES = frozenset({"command", "args", "env", "url", "headers"})
