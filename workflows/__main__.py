"""`python -m workflows docs/schemas` writes the published schemas."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflows.codec import json_schema
from workflows.pareto.space import configurations_schema
from workflows.points import points_schema
from workflows.verify import cases_schema


def published() -> Mapping[str, dict[str, Any]]:
    """By file name."""
    return {
        "cases.schema.json": cases_schema(),
        "configurations.schema.json": configurations_schema(),
        "points.schema.json": points_schema(),
        "workflow.schema.json": json_schema(),
    }


if __name__ == "__main__":
    for name, schema in published().items():
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
