"""Wiping and exporting what untrusted code left behind, on real folders."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containers.shim.files import export, wipe


def test_wipe_follows_no_link_and_survives_any_depth_and_mode(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(outside)
    (top / "dangling").symlink_to("/nowhere")
    os.mkfifo(top / "fifo")
    here = os.open(top, os.O_RDONLY)
    for _ in range(1050):  # deeper than Python recurses, longer than a path may be
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    (top / "locked").mkdir()
    (top / "locked" / "in").mkdir()
    (top / "locked" / "in" / "f").write_text("x")
    (top / "locked").chmod(0o000)
    wipe(str(top))
    assert list(top.iterdir()) == []
    assert (outside / "precious").read_text() == "x"


def test_wipe_refuses_a_link_as_top(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_text("x")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError, match="link"):
        wipe(str(tmp_path / "link"))
    assert (tmp_path / "real" / "f").exists()


def test_wipe_forgets_attributes_left_on_the_folder_itself(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, "user.note", b"for the next case")
    except OSError:
        pytest.skip("no user attributes on this file system")
    wipe(str(tmp_path))
    assert os.listxattr(tmp_path) == []


def test_export_takes_regular_files_and_names_what_it_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    (source / "d").mkdir(parents=True)
    target.mkdir()
    (source / "d" / "f").write_text("data")
    (source / "passwd").symlink_to("/etc/passwd")
    (source / "one").write_text("1")
    os.link(source / "one", source / "two")
    os.mkfifo(source / "pipe")
    report = export(str(source), str(target), 1000)
    assert report == {"refused": ["one", "passwd", "pipe", "two"], "truncated": False}
    assert [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()] == ["d/f"]


def test_too_much_is_said_and_left_out(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir()
    target.mkdir()
    with (source / "sparse").open("wb") as big:
        big.truncate(1 << 40)
    (source / "small").write_text("x")
    assert export(str(source), str(target), 1000) == {"refused": [], "truncated": True}
    assert [path.name for path in target.iterdir()] == ["small"]


def test_too_deep_is_said(tmp_path: Path) -> None:
    deep = tmp_path / "s" / "/".join("d" * 40)
    deep.mkdir(parents=True)
    (tmp_path / "t").mkdir()
    assert export(str(tmp_path / "s"), str(tmp_path / "t"), 1000)["truncated"] is True


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 300), max_size=8), cap=st.integers(0, 1000))
def test_what_is_not_truncated_is_complete(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cap: int
) -> None:
    base = tmp_path_factory.mktemp("export")
    (base / "s").mkdir()
    (base / "t").mkdir()
    for number, size in enumerate(sizes):
        (base / "s" / str(number)).write_bytes(b"x" * size)
    report = export(str(base / "s"), str(base / "t"), cap)
    copied = {path.name: path.stat().st_size for path in (base / "t").iterdir()}
    assert sum(copied.values()) <= cap
    assert report["truncated"] == (len(copied) < len(sizes))
