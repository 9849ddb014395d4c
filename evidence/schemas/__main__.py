"""Write the published schemas of cases and sealed batches: `python -m evidence.schemas docs/schemas`."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from evidence.cases import AnyCase, SealedBatch


def published() -> dict[str, dict[str, Any]]:
    """File name -> schema, made from the models themselves."""
    return {
        "case.schema.json": {"title": "case", **TypeAdapter[AnyCase](AnyCase).json_schema()},
        "sealed_batch.schema.json": {**SealedBatch.model_json_schema(), "title": "sealed_batch"},
    }


def rendered(schema: dict[str, Any]) -> str:
    return (
        json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m evidence.schemas FOLDER")
    for name, schema in published().items():
        (Path(sys.argv[1]) / name).write_text(rendered(schema), encoding="utf-8")


if __name__ == "__main__":
    main()
