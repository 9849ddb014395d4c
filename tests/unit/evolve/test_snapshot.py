"""A coder's tree as a replay sees it: a copy, whatever the coder puts in the way."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve.coding.snapshot import Files, Layout, Unusable, digest_of, read_tree, with_changes

NAMES = st.lists(st.sampled_from(["a", "b", "c.py"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(NAMES, st.tuples(st.binary(max_size=4), st.booleans()), max_size=5)


def is_possible(files: Files) -> bool:
    """No file stands where another needs a folder."""
    return not any(other.startswith(f"{name}/") for name in files for other in files)


@settings(deadline=None)
@given(st.lists(TREES.filter(is_possible), max_size=5))
def test_a_layout_shows_exactly_the_last_snapshot(trees: list[Files]) -> None:
    with TemporaryDirectory() as folder:
        layout = Layout(Path(folder) / "shown")
        for files in trees:
            layout.show(files)
            assert read_tree(layout.folder) == files
            assert digest_of(read_tree(layout.folder)) == digest_of(files)


def test_links_and_special_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("x")
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    assert read_tree(tmp_path) == {"good.py": (b"x", False)}


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", ".git/config", "a/.git/x", "a\0"])
def test_a_change_stays_below_the_repository(name: str) -> None:
    with pytest.raises(Unusable):
        with_changes({}, {name: b"x"})


def test_changes_replace_add_and_remove() -> None:
    files: Files = {"a": (b"1", True), "b": (b"2", False)}
    assert with_changes(files, {"a": b"3", "b": None, "./c": b"4"}) == {"a": (b"3", True), "c": (b"4", False)}


def test_a_file_in_the_way_of_a_folder_is_said(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "shown")
    with pytest.raises(Unusable, match="a/b"):
        layout.show({"a": (b"", False), "a/b": (b"", False)})


def test_bytecode_stands_only_beside_the_source_that_it_was_made_from(tmp_path: Path) -> None:
    cache = tmp_path / "app" / "__pycache__"
    cache.mkdir(parents=True)
    (tmp_path / "app" / "a.py").write_bytes(b"1")
    (tmp_path / "app" / "ab.py").write_bytes(b"2")
    for name in ("a", "ab"):
        (cache / f"{name}.cpython-311.pyc").write_bytes(name.encode())
    layout = Layout(tmp_path)
    first = read_tree(tmp_path)

    def cached() -> list[str]:
        return sorted(path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc"))

    assert cached() == ["a", "ab"]
    layout.show({**first, "app/a.py": (b"other", False)})
    assert cached() == ["ab"]
    layout.show({"app/a.py": first["app/a.py"]})
    assert cached() == ["a"]
    layout.show({"x": (b"", False)})
    assert cached() == []
    layout.show(first)
    assert cached() == ["a", "ab"]
    assert (cache / "ab.cpython-311.pyc").read_bytes() == b"ab"
