"""A workflow as a file of the library: its canonical form in the order of the file that it replaces, and laid out as the
library's files are, so that a diff shows what changed and little else."""

import json
from typing import Any

WIDTH = 110
STEP = 2


def laid_out(table: dict[str, Any], like: dict[str, Any]) -> bytes:
    """`like`: the old file's JSON, of a workflow, too."""
    old = {node["id"]: node for node in like["nodes"]}
    places = {name: place for place, name in enumerate(old)}
    nodes = sorted(table["nodes"], key=lambda node: places.get(node["id"], len(places)))
    ordered = _ordered(table, like) | {"nodes": [_ordered(node, old.get(node["id"])) for node in nodes]}
    return (_printed(ordered, 0, WIDTH, levels=3) + "\n").encode()


def _ordered(new: Any, old: Any) -> Any:
    """Keys in the order that they had, others behind them. The order of a list means something."""
    if not isinstance(new, dict):
        return new
    known = old if isinstance(old, dict) else {}
    keys = [*(key for key in known if key in new), *(key for key in new if key not in known)]
    return {key: _ordered(new[key], known.get(key)) for key in keys}


def _printed(value: Any, indent: int, room: int, levels: int = 0) -> str:
    """In one line where there is room. `levels`: so many are opened anyway, on the way to the steps."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (levels == 0 and len(flat) <= room):
        return flat
    inner, pad = indent + STEP, " " * (indent + STEP)
    if isinstance(value, list):
        lines = [_printed(one, inner, WIDTH - inner, max(0, levels - 1)) for one in value]
        brackets = "[]"
    else:
        lines, brackets = [], "{}"
        for key, one in value.items():
            name = f"{json.dumps(key, ensure_ascii=False)}: "
            deeper = levels - 1 if key == "nodes" else 0
            lines.append(name + _printed(one, inner, WIDTH - inner - len(name), max(0, deeper)))
    body = f",\n{pad}".join(lines)
    return f"{brackets[0]}\n{pad}{body}\n{' ' * indent}{brackets[1]}"
