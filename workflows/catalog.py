"""What tools there are: the answers of MCP `tools/list`, read once into typed descriptions."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ToolSpec:
    server: str
    name: str
    description: str = ""
    input_schema: Mapping[str, object] = field(default_factory=dict)
    output_schema: Mapping[str, object] | None = None
    """None: the server does not say what the tool returns."""
    idempotent: bool = False
    """The server says that calling twice does no more than calling once."""

    @property
    def key(self) -> str:
        return f"{self.server}/{self.name}"


@dataclass(frozen=True, slots=True)
class Catalog:
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)

    def get(self, key: str) -> ToolSpec | None:
        return self.tools.get(key)

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(self.tools.values())


def catalog(specs: Iterable[ToolSpec]) -> Catalog:
    """Sorted by key, so that the order in which servers answered does not show."""
    return Catalog({spec.key: spec for spec in sorted(specs, key=lambda spec: spec.key)})


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
    )
