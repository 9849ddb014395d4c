"""Runs inside a coder's sandbox: plays one proposal (a JSON file) on the worktree. Standard library only."""

import json
import os
import subprocess
import sys
from pathlib import Path


def main(told: str, repo: str) -> int:
    proposal = json.loads(Path(told).read_text())
    for edit in proposal["edits"]:
        apply(Path(repo) / edit["path"], edit["old"], edit["new"])
    env = {**os.environ, "PY": sys.executable}
    return subprocess.run(["/bin/sh", "-c", proposal["script"]], cwd=repo, env=env).returncode


def apply(file: Path, old: str | None, new: str | None) -> None:
    if new is None:
        file.unlink()
    elif old is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(new)
    else:
        text = file.read_text()
        assert text.count(old) == 1, (file, old)
        file.write_text(text.replace(old, new))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
