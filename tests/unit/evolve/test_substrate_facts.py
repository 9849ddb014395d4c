"""What the substrate's own history says about a candidate; real commits."""

from pathlib import Path

import pytest

from evolve import worktree
from evolve.candidate import Candidate
from evolve.substrate_facts import HOT, SubstrateFacts, substrate_facts


class Repository:
    """A substrate that is written commit by commit."""

    def __init__(self, folder: Path) -> None:
        self.path, self.tree = folder / "repository", folder / "tree"
        self.write(
            {"service/app.py": "import json\n", "service/calm.py": "", "requirements.lock": "httpx==1.0\n"}
        )
        self.head = worktree.create_repository(self.path, self.tree, "first")

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, files: dict[str, str]) -> None:
        self.write(files)
        before, self.head = self.head, worktree.commit_directory(self.path, self.tree, self.head, "next")
        worktree.move_main(self.path, self.head, before)

    def facts(self, files: dict[str, str]) -> SubstrateFacts:
        """Of a candidate that writes these files."""
        self.write(files)
        commit = worktree.commit_directory(self.path, self.tree, self.head, "candidate")
        changed = tuple(change.path for change in worktree.changes(self.path, self.head, commit))
        return substrate_facts(self.path, candidate(self.head, commit, changed))


def candidate(base: str, commit: str, files: tuple[str, ...]) -> Candidate:
    image = "sha256:" + "0" * 64
    return Candidate(
        id="c", run_id="r", batch_digest=image, base_commit=base, base_image=image, commit=commit, image=image,
        diff_sha256=image, files=files, lines_added=1, lines_removed=0, coder="mend", seed=1,
    )  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_file_is_hot_when_it_changes_often(repository: Repository) -> None:
    for number in range(HOT - 2):
        repository.commit({"service/app.py": f"import json\nx = {number}\n"})
    edit = {"service/app.py": "import json\nx = 99\n", "service/calm.py": "y = 1\n"}
    assert repository.facts(edit).hot == {}, "one change short"
    repository.commit({"service/app.py": "import json\nx = 7\n"})
    assert repository.facts({**edit, "service/app.py": "import json\nx = 100\n"}).hot == {
        "service/app.py": HOT
    }


def test_new_dependencies_are_pins_and_imports_that_were_nowhere(repository: Repository) -> None:
    facts = repository.facts(
        {
            "service/app.py": "import json, os\nfrom service import calm\nimport numpy.linalg\nfrom . import calm\n",
            "requirements.lock": "httpx==1.1 \\\n    --hash=sha256:0\nleft-pad[x]==2.0\n",
        }
    )
    assert facts.dependencies == ("left-pad", "numpy")


def test_a_dependency_of_another_file_is_not_new(repository: Repository) -> None:
    repository.commit({"service/calm.py": "import numpy\n"})
    assert repository.facts({"service/app.py": "import numpy\n"}).dependencies == ()


def test_capabilities_gained_and_lost(repository: Repository) -> None:
    repository.commit({"service/app.py": "import pickle\n"})
    facts = repository.facts({"service/app.py": "import subprocess\neval('1')\n"})
    assert (facts.gained, facts.lost) == (
        ("dynamic_code:eval", "processes:subprocess"),
        ("dynamic_code:pickle",),
    )


def test_what_cannot_be_read_is_said_to_be_unknown(repository: Repository, tmp_path: Path) -> None:
    assert not substrate_facts(tmp_path / "nowhere", candidate(repository.head, repository.head, ())).known
    for lost in ("1" * 40, "--help", "HEAD:service", ""):
        assert not substrate_facts(repository.path, candidate(repository.head, lost, ())).known, lost
    assert not substrate_facts(repository.path, None).known
    assert substrate_facts(repository.path, candidate(repository.head, repository.head, ())).known
