"""Write the next version of the history: `python -m evolve.migrations "add what"`."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from evidence.store import make_engine, sqlite_url
from evolve.migrations import script_config, upgrade


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit('usage: python -m evolve.migrations "what changes"')
    with tempfile.TemporaryDirectory() as folder:
        url = sqlite_url(Path(folder) / "empty.db")
        if list(ScriptDirectory.from_config(script_config()).walk_revisions()):
            upgrade(url)
        number = len(list(ScriptDirectory.from_config(script_config()).walk_revisions())) + 1
        engine = make_engine(url)
        with engine.begin() as connection:
            command.revision(
                script_config(connection), sys.argv[1], autogenerate=True, rev_id=f"{number:04d}"
            )
        engine.dispose()


if __name__ == "__main__":
    main()
