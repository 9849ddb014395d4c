"""`python -m workflows docs/schemas` writes the published schema of a workflow."""

import json
import sys
from pathlib import Path

from workflows.codec import json_schema

if __name__ == "__main__":
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    (Path(sys.argv[1]) / "workflow.schema.json").write_text(text, encoding="utf-8")
