"""Copies of servers' state: put back as it was, whatever was done to it, and never outside of it."""

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflows.servers.state_copies import StateCopies, StateError


def tree(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.is_dir() or path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def copies(tmp_path: Path, *paths: Path) -> StateCopies:
    folder = tmp_path / "copies"
    folder.mkdir(exist_ok=True)
    return StateCopies(map(str, paths), folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub/b.txt").write_text("b")
    (folder / "link").symlink_to("a.txt")
    return folder


def test_a_folder_comes_back_and_stays_the_same_folder(tmp_path: Path, data: Path) -> None:
    before, number, state = tree(data), data.stat().st_ino, copies(tmp_path, data)
    (data / "a.txt").unlink()
    (data / "sub/b.txt").write_text("changed")
    (data / "new").mkdir()
    (data / "new/c").touch()
    os.mkfifo(data / "pipe")
    for _ in range(2):
        state.put_back()
        assert (tree(data), data.stat().st_ino) == (before, number)
    (data / "a.txt").rename(tmp_path / "a.txt")
    state.put_back()
    assert tree(data) == before


def test_files_come_back_and_what_was_not_there_goes(tmp_path: Path, data: Path) -> None:
    there, not_there = data / "a.txt", data / "memory.json"
    state = copies(tmp_path, there, not_there)
    there.write_text("changed")
    not_there.write_text("{}")
    state.put_back()
    assert (there.read_text(), not_there.exists()) == ("a", False)
    there.unlink()
    there.mkdir()
    state.put_back()
    assert there.read_text() == "a"


def test_a_database_comes_back_with_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t(x)")
        database.execute("insert into t values (1)")
    database.close()
    state = copies(tmp_path, path)
    other = sqlite3.connect(path)
    other.execute("insert into t values (2)")
    other.commit()
    wal = Path(f"{path}-wal").read_bytes()
    other.close()
    Path(f"{path}-wal").write_bytes(wal)  # as a killed server leaves it
    state.put_back()
    found = sqlite3.connect(path)
    assert found.execute("select x from t").fetchall() == [(1,)]
    found.close()


def test_a_link_that_took_a_folders_place_is_not_followed(tmp_path: Path, data: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious").touch()
    before, state = tree(data), copies(tmp_path, data)
    data.rename(tmp_path / "moved")
    data.symlink_to(mine)
    state.put_back()
    assert (tree(data), data.is_symlink(), tree(mine)) == (before, False, {"precious": b""})


def test_a_link_on_the_way_is_not_followed(tmp_path: Path, data: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "sub").mkdir(parents=True)
    (mine / "sub/precious").touch()
    state = copies(tmp_path, data / "sub")
    data.rename(tmp_path / "moved")
    data.symlink_to(mine)
    with pytest.raises(StateError, match=f"{data}/sub leads elsewhere now: {mine}/sub"):
        state.put_back()
    assert tree(mine) == {"sub": True, "sub/precious": b""}


def test_an_operators_own_link_is_followed(tmp_path: Path, data: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(data)
    before, state = tree(data), copies(tmp_path, link, data / "sub")
    (data / "a.txt").write_text("changed")
    state.put_back()
    assert (tree(data), link.is_symlink()) == (before, True)


def test_what_can_not_be_copied_is_said(tmp_path: Path, data: Path) -> None:
    os.mkfifo(data / "pipe")
    with pytest.raises(StateError, match=f"{data} can't be copied"):
        copies(tmp_path, data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("wmdl"), st.sampled_from(["a.txt", "sub", "sub/b.txt", "sub/c", "d", "link"])
        ),
        max_size=6,
    )
)
def test_whatever_was_done(tmp_path: Path, deeds: list[tuple[str, str]]) -> None:
    folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    (folder / "data/sub").mkdir(parents=True)
    (folder / "data/a.txt").write_text("a")
    (folder / "data/sub/b.txt").write_text("b")
    before, state = tree(folder / "data"), copies(folder, folder / "data")
    for deed, name in deeds:
        path = folder / "data" / name
        try:
            match deed:
                case "w":
                    path.write_text("changed")
                case "m":
                    path.mkdir()
                case "d":
                    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
                case "l":
                    path.symlink_to("/etc")
        except OSError:
            pass
    state.put_back()
    assert tree(folder / "data") == before
