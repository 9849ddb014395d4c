"""The world that the servers look at: a folder with files, a git repository in it, a database, and a memory file.

None of the six servers keeps anything to itself that a task looks at: each reads its files at every call. So a world is set
up for a task by writing these files, while the servers live on.
"""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

State = dict[str, Any]
"""What there is, by names such as `file:a.txt`, `table:items`, `entity:Ada`, `relation:A knows B`, `branch:main`,
`committed:main:a.txt`, `head`, `staged`."""
MAIN = "main"
NOBODY = {
    **{f"GIT_{who}_NAME": "Somebody" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "somebody@example.org" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_DATE": "2026-01-02T03:04:05+00:00" for who in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


class World:
    def __init__(self, root: Path) -> None:
        """`root` has to be there and empty."""
        self.root = root.resolve()
        self.open = self.root / "open"
        self.open.mkdir()
        self._repository, self._database = self.open / "repo", self.root / "world.db"
        self._memory = self.root / "memory.jsonl"

    def set_up(self, setup: Mapping[str, Any]) -> None:
        """The world of one task, and nothing of the one before."""
        for entry in self.open.iterdir():  # the folder itself stays: servers stand in it
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        for path in self.root.glob("world.db*"):
            path.unlink()
        _write(self.open, setup.get("files", {}))
        self._memory.write_text("\n".join(json.dumps(line) for line in setup.get("memory", [])))
        with closing(sqlite3.connect(self._database)) as database:
            for statement in setup.get("sql", []):
                database.execute(statement)
            database.commit()
        if "git" in setup:
            self._make_repository(setup["git"])

    def state(self) -> State:
        return {**self._files(), **self._tables(), **self._graph(), **self._history()}

    def _make_repository(self, setup: Mapping[str, Any]) -> None:
        self._repository.mkdir()
        self._git("init", "-q", "-b", MAIN)
        for commit in setup["commits"]:
            branch = commit.get("branch")
            if branch:
                self._git("checkout", "-q", "-b", branch)
            _write(self._repository, commit["files"])
            self._git("add", "-A")
            self._git("commit", "-q", "-m", commit["message"])
            if branch:
                self._git("checkout", "-q", MAIN)
        if "staged" in setup:
            _write(self._repository, setup["staged"])
            self._git("add", "-A")
        _write(self._repository, setup.get("changed", {}))

    def _files(self) -> State:
        found = {}
        for folder, folders, names in os.walk(self.open):
            folders[:] = [name for name in folders if name != ".git"]
            for name in names:
                path = Path(folder, name)
                found[f"file:{path.relative_to(self.open)}"] = path.read_text(errors="replace")
        return found

    def _tables(self) -> State:
        with closing(sqlite3.connect(self._database)) as database:
            names = [
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            return {
                f"table:{name}": [list(row) for row in database.execute(f'SELECT * FROM "{name}"')]
                for name in names
            }

    def _graph(self) -> State:
        found: State = {}
        for line in self._memory.read_text().splitlines():
            item = json.loads(line)
            if item["type"] == "entity":
                found[f"entity:{item['name']}"] = {key: item[key] for key in ("entityType", "observations")}
            else:
                found[f"relation:{item['from']} {item['relationType']} {item['to']}"] = True
        return found

    def _history(self) -> State:
        if not (self._repository / ".git").exists():
            return {}
        found: State = {"head": self._git("rev-parse", "--abbrev-ref", "HEAD").strip()}
        found["staged"] = self._git("diff", "--cached", "--name-only").split()
        for branch in self._git("for-each-ref", "--format=%(refname:short)", "refs/heads").split():
            ref = f"refs/heads/{branch}"  # a branch may be called like a file
            messages = self._git("log", "--format=%B%x00", ref, "--").split("\0")
            found[f"branch:{branch}"] = [message.strip() for message in messages if message.strip()]
            for path in self._git("ls-tree", "-r", "--name-only", ref).splitlines():
                found[f"committed:{branch}:{path}"] = self._git("show", f"{ref}:{path}")
        return found

    def _git(self, *arguments: str) -> str:
        return _run(["git", *arguments], self._repository)


def _run(command: Sequence[str], folder: Path) -> str:
    env = {"PATH": os.environ["PATH"], **NOBODY}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
