"""Wiping and reading what untrusted code left behind, on real folders."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containers.shim.files import MAX_NAME, listing, send, wipe


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


def test_regular_files_are_listed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("data")
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "one").write_text("1")
    os.link(tmp_path / "one", tmp_path / "two")
    os.mkfifo(tmp_path / "pipe")
    assert listing(str(tmp_path), 1000) == ([("d/f", 4)], False)


def test_too_much_is_said_and_left_out(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as big:
        big.truncate(1 << 40)
    (tmp_path / "small").write_text("x")
    assert listing(str(tmp_path), 1000) == ([("small", 1)], True)


def test_too_deep_and_too_long_a_name_are_said(tmp_path: Path) -> None:
    (tmp_path / "deep" / "/".join("d" * 40)).mkdir(parents=True)
    assert listing(str(tmp_path / "deep"), 1000) == ([], True)
    long = tmp_path / "long" / "/".join(["n" * 200] * (MAX_NAME // 200 + 1))
    long.mkdir(parents=True)
    (long / "f").touch()
    assert listing(str(tmp_path / "long"), 1000) == ([], True)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 300), max_size=8), cap=st.integers(0, 1000))
def test_what_is_not_truncated_is_complete(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cap: int
) -> None:
    base = tmp_path_factory.mktemp("listing")
    for number, size in enumerate(sizes):
        (base / str(number)).write_bytes(b"x" * size)
    found, truncated = listing(str(base), cap)
    assert sum(size for _, size in found) <= cap
    assert truncated == (len(found) < len(sizes))
    assert all((base / name).stat().st_size == size for name, size in found)


def test_a_file_that_became_shorter_is_not_sent_as_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1234")
    reader, writer = os.pipe()
    try:
        send(str(tmp_path / "f"), 3, writer)
        assert os.read(reader, 10) == b"123"
        with pytest.raises(OSError, match="shorter"):
            send(str(tmp_path / "f"), 5, writer)
    finally:
        os.close(reader)
        os.close(writer)
