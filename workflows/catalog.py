"""What tools there are: the answers of MCP `tools/list`, read once into typed descriptions, and the order in which they
may be used."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from workflows.graph import Effect
from workflows.types import Schema


@dataclass(frozen=True, slots=True)
class ToolSpec:
    server: str
    name: str
    description: str = ""
    input_schema: Schema = field(default_factory=dict)
    output_schema: Schema | None = None
    """None: the server does not say what the tool returns."""
    idempotent: bool = False
    """The server says that calling twice does no more than calling once."""
    effect: Effect = "irreversible"
    """What the server says: `read` changes nothing, `write` destroys nothing; what says nothing may do anything."""

    @property
    def key(self) -> str:
        return f"{self.server}/{self.name}"

    @property
    def required(self) -> tuple[str, ...]:
        found = self.input_schema.get("required")
        return tuple(str(name) for name in found) if isinstance(found, list) else ()


@dataclass(frozen=True, slots=True)
class Move:
    """In which stages a tool may be called, and the stage that it leads to; None: the same."""

    allowed: tuple[str, ...]
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Contract:
    """The finite-state contract of some tools: the stage at the start, and each tool's move."""

    name: str
    start: str
    tools: Mapping[str, Move]


@dataclass(frozen=True, slots=True)
class Catalog:
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    learnt: Mapping[str, Schema] = field(default_factory=dict)
    """Tool -> schema of its results, from results that were seen."""
    contracts: tuple[Contract, ...] = ()

    def get(self, key: str) -> ToolSpec | None:
        return self.tools.get(key)

    def output(self, key: str) -> Schema:
        """What a tool returns: declared, else learnt; `{}` when nobody knows."""
        spec = self.tools.get(key)
        declared = spec.output_schema if spec else None
        return declared if declared is not None else self.learnt.get(key, {})

    def with_learnt(self, learnt: Mapping[str, Schema]) -> "Catalog":
        return replace(self, learnt={**self.learnt, **learnt})

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(self.tools.values())

    def __len__(self) -> int:
        return len(self.tools)


def catalog(specs: Iterable[ToolSpec], contracts: Iterable[Contract] = ()) -> Catalog:
    """Sorted by key, so that the order in which servers answered does not show."""
    tools = {spec.key: spec for spec in sorted(specs, key=lambda spec: spec.key)}
    return Catalog(tools, contracts=tuple(contracts))


def read_listing(server: str, tools: object) -> list[ToolSpec]:
    """The `tools` array of one server's `tools/list` result; entries without a name are skipped."""
    entries = tools if isinstance(tools, list) else []
    return [_spec(server, entry) for entry in entries if isinstance(entry, dict) and entry.get("name")]


def _spec(server: str, entry: Mapping[str, object]) -> ToolSpec:
    hints = entry.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    input_schema, output_schema = entry.get("inputSchema"), entry.get("outputSchema")
    return ToolSpec(
        server=server,
        name=str(entry["name"]),
        description=str(entry.get("description") or ""),
        input_schema=input_schema if isinstance(input_schema, dict) else {},
        output_schema=output_schema if isinstance(output_schema, dict) else None,
        idempotent=hints.get("idempotentHint") is True or hints.get("readOnlyHint") is True,
        effect=_effect(hints),
    )


def _effect(hints: Mapping[str, object]) -> Effect:
    if hints.get("readOnlyHint") is True:
        return "read"
    return "write" if hints.get("destructiveHint") is False else "irreversible"
