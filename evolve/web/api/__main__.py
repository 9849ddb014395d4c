"""`python -m evolve.web.api docs/schemas` writes the published description of the API."""

import json
import sys
from pathlib import Path

from evolve.web.api.document import document

FILE_NAME = "control_api.openapi.json"


def rendered() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) / FILE_NAME).write_text(rendered(), encoding="utf-8")
