"""Commits are made from bytes: whatever a candidate wrote into attribute, ignore or link files is data."""

import io
import itertools
import os
import subprocess
from pathlib import Path

import pytest

from evolve import tree_files, worktree
from evolve.errors import BadInput, Broken


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg" / "a.py").write_text("x = 1\n")
    (root / "README").write_text("hello\n")
    return root


@pytest.fixture
def repository(tmp_path: Path, tree: Path) -> Path:
    path = tmp_path / "repository"
    worktree.create_repository(path, tree, "baseline")
    return path


def test_a_candidate_is_exactly_the_bytes_of_its_folder(repository: Path, tree: Path, tmp_path: Path) -> None:
    (tree / ".gitattributes").write_text("* text eol=crlf\n*.py ident\n")
    (tree / ".gitignore").write_text("*\n")
    (tree / "pkg" / "a.py").write_bytes(b"x = 2  # $Id$\r\n")
    commit = worktree.commit_directory(repository, tree, worktree.head(repository), "candidate")
    out = tmp_path / "out"
    worktree.export_tree(repository, commit, out)
    assert (out / "pkg" / "a.py").read_bytes() == b"x = 2  # $Id$\r\n"
    assert (out / ".gitignore").exists()


def test_changes_are_read_from_git_objects(repository: Path, tree: Path) -> None:
    base = worktree.head(repository)
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "blob").write_bytes(b"\0\1\2" * 40)
    (tree / "README").unlink()
    (tree / "pkg" / "a.py").chmod(0o755)
    commit = worktree.commit_directory(repository, tree, base, "candidate")
    found = {change.path: change for change in worktree.changes(repository, base, commit)}
    assert found["link"].new_mode == "120000"
    assert found["blob"].binary
    assert found["README"].new_mode == "000000"
    assert (found["pkg/a.py"].old_mode, found["pkg/a.py"].new_mode) == ("100644", "100755")


def test_a_line_that_only_an_interpreter_ends_is_told(repository: Path, tree: Path) -> None:
    base = worktree.head(repository)
    signs = ("a", "\r", "\n", "\f")
    texts = ["".join(some) for length in range(1, 5) for some in itertools.product(signs, repeat=length)]
    for number, text in enumerate(texts):
        (tree / f"{number}.py").write_bytes(text.encode())
    commit = worktree.commit_directory(repository, tree, base, "candidate")
    found = {change.path: change for change in worktree.changes(repository, base, commit)}
    for number, text in enumerate(texts):
        change = found[f"{number}.py"]
        assert change.lone_returns == ("\r" in text.replace("\r\n", "")), repr(text)
        lines = list(io.StringIO(text, newline=None))
        assert change.lone_returns or change.added == len(lines), repr(text)


def test_tools_droppings_are_no_part_of_a_candidate(repository: Path, tree: Path) -> None:
    base = worktree.head(repository)
    (tree / "pkg" / "__pycache__").mkdir()
    (tree / "pkg" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x")
    (tree / ".pytest_cache").mkdir()
    (tree / ".pytest_cache" / "v").write_text("x")
    commit = worktree.commit_directory(repository, tree, base, "candidate")
    assert worktree.changes(repository, base, commit) == []


def test_a_coder_sees_one_commit_and_no_future(repository: Path, tree: Path, tmp_path: Path) -> None:
    base = worktree.head(repository)
    (tree / "pkg" / "a.py").write_text("x = 3  # the fix\n")
    worktree.keep(repository, "later", worktree.commit_directory(repository, tree, base, "the fix"))
    target = tmp_path / "coder"
    worktree.export_for_coder(repository, base, target)

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", target, *words], capture_output=True, text=True, check=True
        ).stdout

    assert len(git("rev-list", "--all").split()) == 1
    assert git("status", "--short") == ""
    blobs = [line.split()[0] for line in git("cat-file", "--batch-check", "--batch-all-objects").splitlines()]
    assert not any("the fix" in git("cat-file", "-p", blob) for blob in blobs)


def test_main_moves_only_from_where_it_was_and_once(repository: Path, tree: Path) -> None:
    base = worktree.head(repository)
    (tree / "pkg" / "a.py").write_text("x = 4\n")
    commit = worktree.commit_directory(repository, tree, base, "candidate")
    first = worktree.commit_promotion(repository, commit, "Promote", {"Run": "R", "Batch": "B"})
    again = worktree.commit_promotion(repository, commit, "Promote", {"Run": "R", "Batch": "B"})
    assert first == again == worktree.head(repository)
    assert (repository / "pkg" / "a.py").read_text() == "x = 4\n"
    assert not worktree.is_dirty(repository)
    with pytest.raises(Broken, match="main moved"):
        worktree.move_main(repository, commit, expected=base)


def test_a_taken_or_malformed_branch_name_is_bad_input(repository: Path) -> None:
    commit = worktree.head(repository)
    worktree.create_branch(repository, "fix", commit)
    for name in ("fix", "a..b", "-x", "with space"):
        with pytest.raises(BadInput):
            worktree.create_branch(repository, name, commit)


def test_a_new_repository_needs_an_empty_folder(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(BadInput, match="not empty"):
        worktree.create_repository(tree, tree, "x")


@pytest.mark.parametrize(
    ("name", "said"),
    [(b"a\nb", "a\\\\nb"), (b"\xff.py", "udcff"), (b"\x1b[2J", "x1b")],
)
def test_a_name_that_no_commit_can_hold_is_bad_input(
    repository: Path, tree: Path, name: bytes, said: str
) -> None:
    (tree / os.fsdecode(name)).write_text("x")
    with pytest.raises(BadInput, match=f"{said}.*"):
        worktree.commit_directory(repository, tree, worktree.head(repository), "candidate")


def test_what_git_holds_to_be_its_own_folder_is_left_out(repository: Path, tree: Path) -> None:
    base = worktree.head(repository)
    (tree / "pkg" / ".git").write_text("gitdir: /elsewhere\n")
    (tree / "git~1").write_text("x")
    commit = worktree.commit_directory(repository, tree, base, "candidate")
    assert worktree.changes(repository, base, commit) == []


def test_more_files_than_anybody_reads_are_bad_input(
    repository: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_files, "MAX_FILES", 3)
    (tree / "three").write_text("x")
    base = worktree.commit_directory(repository, tree, worktree.head(repository), "candidate")
    (tree / "four").write_text("x")
    with pytest.raises(BadInput, match="more than 3 files"):
        worktree.commit_directory(repository, tree, base, "candidate")


def test_a_path_too_long_to_open_is_bad_input(repository: Path, tree: Path) -> None:
    base = worktree.head(repository)
    (tree / "deep").mkdir()
    below = os.open(tree / "deep", os.O_RDONLY)
    for _ in range(20):  # no single path that long can be opened
        os.mkdir("d" * 200, dir_fd=below)
        above, below = below, os.open("d" * 200, os.O_RDONLY, dir_fd=below)
        os.close(above)
        if len(os.readlink(f"/proc/self/fd/{below}")) > 3890:
            break
    os.close(os.open("x" * 250, os.O_CREAT | os.O_WRONLY, dir_fd=below))
    os.close(below)
    with pytest.raises(BadInput, match="too long"):
        worktree.commit_directory(repository, tree, base, "candidate")
