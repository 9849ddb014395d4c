"""A file that remembers what servers said and returned: their listings, and the types of results that were seen.

With it types that were learnt once are known the next time, and a workflow can be checked while no server runs. It is only a
memory: a file that is missing, broken, older or another's is begun anew, and one that can't be written is left.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflows.catalog import Catalog, catalog, read_listing
from workflows.learn import learn
from workflows.servers.file import ServerEntry, ServersFile
from workflows.types import Schema

VERSION = 1
LARGEST = 64 << 20
_SAID = frozenset({"command", "args", "env", "cwd", "url", "headers", "protocol"})


@dataclass
class Remembered:
    """Of one server, as it was configured and in the version that it reported."""

    version: str = ""
    tools: list[Any] = field(default_factory=list)
    """Entries of `tools/list`, as they came."""
    learnt: dict[str, Schema] = field(default_factory=dict)
    """Tool -> schema of its results; only of tools that do not declare one."""

    def lists(self, version: str, tools: list[Any]) -> None:
        """Another version may return other results: what was learnt of the one before is forgotten."""
        if version != self.version:
            self.learnt = {}
        self.version, self.tools = version, tools

    def learns(self, tool: str, value: object) -> bool:
        """Whether that was news."""
        known = self.learnt.get(tool)
        found = learn(known, value)
        if found == known:
            return False
        self.learnt[tool] = found
        return True


class SchemaCache:
    """`path` None: it remembers as long as it lives."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known = _read(path) if path is not None else {}
        self._ours: set[str] = set()

    def of(self, name: str, entry: ServerEntry) -> Remembered:
        """To be changed in place, and then saved."""
        key = entry_key(name, entry)
        self._ours.add(key)
        return self._known.setdefault(key, Remembered())

    def save(self) -> None:
        """Whole or not at all. What another process has saved of other servers stays."""
        if self._path is None:
            return
        known = {**_read(self._path), **{key: self._known[key] for key in self._ours}}
        servers = {
            key: {"version": found.version, "tools": found.tools, "learnt": found.learnt}
            for key, found in sorted(known.items())
            if found.tools
        }
        with contextlib.suppress(OSError):
            _write(self._path, json.dumps({"v": VERSION, "servers": servers}).encode())


def entry_key(name: str, entry: ServerEntry) -> str:
    """A hash of what decides which server runs, and not of what we say about its tools. No secret can be read from it."""
    said = entry.model_dump(mode="json", include=set(_SAID))
    return hashlib.sha256(json.dumps([name, said], sort_keys=True).encode()).hexdigest()


def cached_catalog(file: ServersFile, path: Path) -> tuple[Catalog, tuple[str, ...]]:
    """The catalog as it was when the servers last ran, for a check without them, and the servers that it does not know."""
    cache = SchemaCache(path)
    known = {name: cache.of(name, entry) for name, entry in file.servers.items()}
    specs = [
        spec
        for name, found in known.items()
        for spec in file.servers[name].corrected(read_listing(name, found.tools))
    ]
    learnt = {
        f"{name}/{tool}": schema for name, found in known.items() for tool, schema in found.learnt.items()
    }
    missing = tuple(name for name, found in known.items() if not found.tools)
    return catalog(specs, file.as_contracts()).with_learnt(learnt), missing


def _read(path: Path) -> dict[str, Remembered]:
    """Of a file that is not what we wrote, what still looks like it."""
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(LARGEST + 1)) if os.fstat(file.fileno()).st_size <= LARGEST else None
    except (OSError, ValueError, RecursionError):
        return {}
    servers = data.get("servers") if isinstance(data, dict) and data.get("v") == VERSION else None
    if not isinstance(servers, dict):
        return {}
    return {key: found for key, entry in servers.items() if (found := _remembered(entry)) is not None}


def _remembered(entry: object) -> Remembered | None:
    match entry:
        case {"version": str() as version, "tools": list() as tools, "learnt": dict() as learnt}:
            known: dict[str, Schema] = {
                tool: schema for tool, schema in learnt.items() if isinstance(schema, dict)
            }
            return Remembered(version, tools, known)
    return None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise
