"""Coders by command: judged by the tree that they leave; and `evolve-check`, their way to ask for replays."""

import json
import os
import socketserver
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from containers.runtime import Mount
from evolve.coding import evolve_check, get_coder
from evolve.coding.command import CommandCoder, _outcome, tree_digest
from evolve.coding.protocol import Missing, Version
from evolve.errors import BadInput
from evolve.settings import FILE_NAME, load_settings


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / ".git").mkdir(parents=True)
    (folder / "a.py").write_text("x = 1\n")
    return folder


def test_the_tree_decides_never_the_exit_code(tree: Path) -> None:
    before = tree_digest(tree)
    assert [_outcome(before, tree_digest(tree), code) for code in (0, 1, 7, None)] == [
        "no_change",
        "no_change",
        "failed",
        "timed_out",
    ]
    (tree / "a.py").write_text("x = 2\n")
    assert {_outcome(before, tree_digest(tree), code) for code in (0, 1, 7, None)} == {"edited"}


def test_git_and_caches_are_no_edit_but_names_and_links_are(tree: Path) -> None:
    before = tree_digest(tree)
    (tree / ".git" / "index").write_text("x")
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "a.pyc").write_text("x")
    assert tree_digest(tree) == before
    (tree / "a.py").rename(tree / "b.py")
    renamed = tree_digest(tree)
    os.symlink("/etc/passwd", tree / "c.py")
    assert len({before, renamed, tree_digest(tree)}) == 3


def test_probe_tells_what_the_sandbox_would_not_find(tmp_path: Path) -> None:
    assert isinstance(CommandCoder("x", ("/usr/bin/env", "{repo}")).probe(), Version)
    assert isinstance(CommandCoder("x", ("sh",)).probe(), Version)
    assert isinstance(CommandCoder("x", ()).probe(), Missing)
    hidden = CommandCoder("x", (str(tmp_path / "coder"),))
    assert isinstance(hidden.probe(), Missing)
    shown = CommandCoder("x", hidden.argv, mounts=(Mount(tmp_path, str(tmp_path)),))
    assert isinstance(shown.probe(), Missing)  # not there at all
    (tmp_path / "coder").write_text("")
    assert isinstance(shown.probe(), Version)
    gone = CommandCoder("x", ("sh",), mounts=(Mount(tmp_path / "gone", "/gone"),))
    assert "mounts" in str(gone.probe())


def test_coders_by_name(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('[coders.mine]\nargv = ["sh", "{task}"]\nenv = { KEY = "v" }\n')
    settings = load_settings(tmp_path)
    mine = get_coder("mine", settings, settings.run)
    assert isinstance(mine, CommandCoder)
    assert (mine.name, mine.env) == ("mine", {"KEY": "v"})
    assert get_coder("mend", settings, settings.run).name == "mend"
    with pytest.raises(BadInput) as caught:
        get_coder("theirs", settings, settings.run)
    assert "mend, mine" in caught.value.hint


@contextmanager
def answering(folder: Path, answer: bytes) -> Iterator[list[dict[str, object]]]:
    """The other end of the socket, which says the same to everybody."""
    asked: list[dict[str, object]] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(json.loads(self.rfile.readline()))
            self.wfile.write(answer)

    with socketserver.UnixStreamServer(str(folder / "s"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def check(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As in the sandbox: the file alone, with the standard library; only the socket lies elsewhere."""
    program = folder / "evolve-check"
    source = Path(evolve_check.__file__).read_text()
    source = source.replace('"/run/check/check.sock"', repr(str(folder / "s")))
    program.write_text(source.replace('"/repo"', repr(str(folder / "repo"))))
    argv = [sys.executable, "-IS", str(program), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20)


def results(*outcomes: str) -> bytes:
    rows = [{"case": f"c<{n}>", "outcome": o, "reason": "a & b"} for n, o in enumerate(outcomes)]
    return json.dumps({"results": rows}).encode() + b"\n"


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [(("pass", "pass"), 0), (("pass", "fail"), 1), (("fail", "invalid"), 5), (("known",), 0)],
)
def test_exit_codes_and_junit(tmp_path: Path, outcomes: tuple[str, ...], code: int) -> None:
    with answering(tmp_path, results(*outcomes)) as asked:
        done = check(tmp_path, "--fail-fast", "--junit", str(tmp_path / "j.xml"), "c<0>")
    assert (done.returncode, done.stderr) == (code, "")
    assert asked == [{"cases": ["c<0>"], "fail_fast": True, "list": False}]
    suite = ET.parse(tmp_path / "j.xml").getroot()
    assert [int(suite.attrib[k]) for k in ("tests", "failures", "errors")] == [
        len(outcomes),
        outcomes.count("fail"),
        outcomes.count("invalid"),
    ]
    assert [case.attrib["name"] for case in suite] == [f"c<{n}>" for n in range(len(outcomes))]


def test_a_copy_is_told_by_its_differences(tmp_path: Path) -> None:
    for name in ("repo", "copy"):
        (tmp_path / name / "app").mkdir(parents=True)
        (tmp_path / name / "app" / "same.py").write_text("same")
        (tmp_path / name / "app" / "edited.py").write_text(name)
    (tmp_path / "repo" / "gone.py").write_text("x")
    (tmp_path / "copy" / "new.py").write_bytes(b"\xff")
    (tmp_path / "copy" / "link.py").symlink_to("/etc/passwd")
    with answering(tmp_path, results("pass")) as asked:
        assert check(tmp_path, "--tree", str(tmp_path / "copy")).returncode == 0
    assert asked[0]["changes"] == {"app/edited.py": "Y29weQ==", "gone.py": None, "new.py": "/w=="}
    assert check(tmp_path, "--tree", str(tmp_path / "none")).returncode == 2


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    with answering(tmp_path, results("fail")):
        done = check(tmp_path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["results"][0]["reason"] == "a & b"


@pytest.mark.parametrize("answer", [b'{"error": "the run has ended"}\n', b"", b"nonsense\n"])
def test_a_replay_that_broke_is_no_failing_case(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer):
        done = check(tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)


def test_nobody_listens_and_wrong_usage(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert check(tmp_path, "--bogus").returncode == 2
