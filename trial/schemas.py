"""Write the published schema of trial reports: `python -m trial.schemas docs/schemas`."""

import json
import sys
from pathlib import Path

from trial.report import TrialReport

FILE = "trial_report.schema.json"


def rendered() -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TrialReport.model_json_schema(),
        "title": "trial_report",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m trial.schemas FOLDER")
    (Path(sys.argv[1]) / FILE).write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
