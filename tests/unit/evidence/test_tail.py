"""Every complete line is delivered once, whatever happens to the file between two passes."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.sources import tail
from evidence.sources.tail import Position, chunks, plan


class Reader:
    """Reads as intake does: the position moves with each chunk; `stop_after` chunks it is killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.position = path, Position(path=str(path))
        self.lines: list[bytes] = []

    def read(self, stop_after: int | None = None) -> str:
        planned = plan(self.path, self.position)
        for count, chunk in enumerate(chunks(planned)):
            if stop_after is not None and count >= stop_after:
                break
            self.lines += [line.data for line in chunk.lines]
            self.position = chunk.after
        return planned.gap


class Writer:
    """A service that keeps its file open, and a rotation beside it."""

    def __init__(self, path: Path) -> None:
        self.path, self.written, self.rotations = path, [], 0
        self.file = path.open("ab", buffering=0)

    def line(self, size: int = 20) -> None:
        data = json.dumps({"n": len(self.written), "pad": "x" * size}).encode()
        self.written.append(data)
        self.file.write(data + b"\n")

    def torn(self) -> None:
        """The first half of a line now, the rest with the next call of `finish`."""
        data = json.dumps({"n": len(self.written), "pad": "torn"}).encode()
        self.written.append(data)
        self.file.write(data[:7])
        self.rest = data[7:] + b"\n"

    def finish(self) -> None:
        self.file.write(self.rest)

    def rename(self) -> None:
        self.rotations += 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{1000 + self.rotations}"))

    def reopen(self) -> None:
        self.file.close()
        self.file = self.path.open("ab", buffering=0)

    def copy_and_truncate(self) -> None:
        self.rotations += 1
        shutil.copy(self.path, self.path.with_name(f"{self.path.name}.{1000 + self.rotations}"))
        os.truncate(self.path, 0)

    def close(self) -> None:
        self.file.close()


STEPS = st.lists(
    st.sampled_from(
        ["line", "lines", "long", "torn", "rename", "late_rename", "truncate", "read", "killed", "empty"]
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_each_line_is_delivered_once(steps: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    writer = Writer(tmp_path_factory.mktemp("log") / "events.jsonl")
    reader = Reader(writer.path)
    for step in steps:
        match step:
            case "line":
                writer.line()
            case "lines":
                for _ in range(700):
                    writer.line()
            case "long":
                writer.line(size=20_000)
            case "torn":
                writer.torn()
                reader.read()
                assert reader.lines == writer.written[:-1]
                writer.finish()
            case "rename":
                writer.rename()
                writer.reopen()
            case "late_rename":  # the writer goes on in the renamed file until it notices
                writer.rename()
                writer.path.touch()
                reader.read()
                writer.line()
                writer.reopen()
                writer.line()
            case "truncate":
                writer.copy_and_truncate()
            case "read":
                reader.read()
                assert reader.lines == writer.written
            case "killed":
                reader.read(stop_after=1)
            case "empty":
                pass
    writer.line()
    assert reader.read() == ""
    writer.close()
    assert reader.lines == writer.written


def test_a_rotated_file_that_is_gone_is_said(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "events.jsonl")
    reader = Reader(writer.path)
    writer.line()
    reader.read()
    writer.path.unlink()
    writer.reopen()
    writer.line()
    assert "rotated" in reader.read()
    writer.close()
    assert reader.lines == writer.written


def test_the_clone_of_a_log_is_read_on_where_the_original_stands(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "events.jsonl")
    reader = Reader(writer.path)
    for _ in range(50):
        writer.line(size=300)
    reader.read()
    writer.close()
    clone = tmp_path / "gen-2" / "events.jsonl"
    clone.parent.mkdir()
    shutil.copy(writer.path, clone)
    with clone.open("rb") as file:
        assert tail.continues(file, reader.position)
    with clone.open("r+b") as file:
        file.seek(reader.position.offset - 10)
        file.write(b"#")
    with clone.open("rb") as file:
        assert not tail.continues(file, reader.position)


def test_a_huge_line_is_cut_without_being_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MAX_LINE", 5000)
    monkeypatch.setattr(tail, "CHUNK_BYTES", 1000)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"a\n" + b"x" * 20_000)
    reader = Reader(path)
    reader.read()
    assert reader.lines == [b"a"]
    with path.open("ab") as file:
        file.write(b"x\nb\n")
    reader.read()
    assert [len(line) for line in reader.lines] == [1, 4096, 1]
    with path.open("ab") as file:
        file.write(b"c\n")
    reader.read()
    assert reader.lines[-1] == b"c"


def test_last_lines_written_to_a_renamed_file_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path / "events.jsonl")
    reader = Reader(writer.path)
    writer.line()
    reader.read()
    writer.rename()
    writer.path.touch()
    writer.line()
    whole, finished = tail._chunks_of, []

    def chunks_then_more(path: Path, position: Position) -> Iterator[tail.Chunk]:
        yield from whole(path, position)
        if not finished:  # after the old file was read to its end, before the new one is looked at
            finished.append(path)
            writer.line()
            writer.reopen()
            writer.line()

    monkeypatch.setattr(tail, "_chunks_of", chunks_then_more)
    reader.read()
    writer.close()
    assert reader.lines == writer.written
