"""A tool in one line, for a model: its name, what it takes, what it gives, and what it says it does."""

from collections.abc import Mapping

from workflows.catalog import ToolSpec
from workflows.types import ALL, Schema, allowed, followed, items_schema, property_schema

DESCRIPTION, NAME, TYPE = 100, 40, 160
"""Characters that are shown at most."""
MOST_ARGUMENTS, MOST_VALUES, DEEPEST = 12, 6, 4


def signature(spec: ToolSpec, output: Schema) -> str:
    """`server/tool(path: string, head?: number) -> {content: string}: What it does`, whatever a server writes into names
    and schemas."""
    takes = ", ".join(_arguments(spec))
    gives = one_line(shown_type(output), TYPE)
    said = one_line(spec.description, DESCRIPTION)
    return f"{one_line(spec.key, 2 * NAME)}({takes}) -> {gives}{': ' + said if said else ''}"


def shown_type(schema: Schema, depth: int = DEEPEST) -> str:
    """As TypeScript would nearly write it."""
    schema = followed(schema)
    values = schema.get("enum")
    if isinstance(values, list) and values:
        return " | ".join(one_line(repr(value), NAME) for value in values[:MOST_VALUES])
    kinds = allowed(schema)
    if kinds == ALL:
        return "any"
    return " | ".join(_kind(kind, schema, depth) for kind in sorted(kinds))


def one_line(text: str, most: int) -> str:
    """Printable, on one line, and cut short."""
    line = " ".join(text[: 4 * most].split())
    shown = "".join(sign if sign.isprintable() else "?" for sign in line)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _arguments(spec: ToolSpec) -> list[str]:
    """Those that it requires first: what is left out is optional."""
    properties = spec.input_schema.get("properties")
    names = [str(name) for name in properties] if isinstance(properties, Mapping) else []
    ordered = sorted(names, key=lambda name: name not in spec.required)
    found = [
        f"{one_line(name, NAME)}{'' if name in spec.required else '?'}: "
        + one_line(shown_type(property_schema(spec.input_schema, name) or {}), TYPE)
        for name in ordered[:MOST_ARGUMENTS]
    ]
    return [*found, "…"] if len(ordered) > MOST_ARGUMENTS else found


def _kind(kind: str, schema: Schema, depth: int) -> str:
    if depth == 0 or kind not in ("array", "object"):
        return kind
    if kind == "array":
        return f"[{shown_type(items_schema(schema), depth - 1)}]"
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return kind
    names = [str(name) for name in properties][:MOST_ARGUMENTS]
    inner = (
        f"{one_line(name, NAME)}: {shown_type(property_schema(schema, name) or {}, depth - 1)}"
        for name in names
    )
    return "{" + ", ".join(inner) + "}"
