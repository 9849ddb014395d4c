"""`evolve-mend` as its users run it: real commands, real sandboxes, real signals."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAULTY = '''"""Kept."""


class Stack:
    def __init__(self, limit):
        self.items = []
        self.limit = limit

    def push(self, item):
        # kept
        if len(self.items) > self.limit:
            raise OverflowError(item)
        self.items.append(item)
'''
CHECK = """
from stack import Stack
stack = Stack(2)
stack.push(1), stack.push(2)
try:
    stack.push(3)
except OverflowError:
    raise SystemExit(0)
raise SystemExit(1)
"""
TESTS = """
import pytest
from stack import Stack

def test_full():
    stack = Stack(1)
    stack.push(1)
    with pytest.raises(OverflowError):
        stack.push(2)

def test_room():
    stack = Stack(1)
    stack.push(1)
    assert stack.items == [1]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "stack.py").write_text(FAULTY)
    (root / "check_it.py").write_text(CHECK)
    (root / "tests").mkdir()
    (root / "tests" / "test_stack.py").write_text(TESTS)
    return root


def _tree(root: Path) -> str:
    """A hash of every path, mode, link and byte."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        body = (
            os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        )
        digest.update(f"{path.relative_to(root)}\0{mode}\0".encode() + body + b"\0")
    return digest.hexdigest()


def _command(root: Path, test: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "evolve.mend", "--repo", str(root), "--test", test, "--json", *more]


def _mend(root: Path, test: str, *more: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        _command(root, test, *more), capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, json.loads(done.stdout or "{}")


SCRIPT = f"{sys.executable} check_it.py"
MODES = [
    pytest.param(["--already-sandboxed"], id="in place"),
    pytest.param(["--already-sandboxed", "--jobs", "2"], id="plain copies"),
    pytest.param(["--jobs", "2"], id="sandboxed"),
]


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_is_mended_in_place_and_nothing_else_changes(project: Path, mode: list[str]) -> None:
    code, said = _mend(project, SCRIPT, "--files", "stack.py", *mode)
    assert code == 0, said
    assert said["status"] == "mended"
    assert ">= self.limit" in (project / "stack.py").read_text()
    assert "# kept" in (project / "stack.py").read_text()
    (project / "stack.py").write_text(FAULTY)
    assert sorted(p.name for p in project.rglob("*")) == ["check_it.py", "stack.py", "test_stack.py", "tests"]
    (edit,) = said["edits"]  # type: ignore[misc]
    assert edit["before"].strip() == "if len(self.items) > self.limit:"
    assert said["seed"] == 0


def test_pytest_results_guide_the_search_without_a_flag(project: Path) -> None:
    test = f"{sys.executable} -m pytest -q -p no:cacheprovider tests"
    code, said = _mend(project, f"PYTHONPATH=$PYTHONPATH:. {test}", "--already-sandboxed")
    assert code == 0, said
    assert ">= self.limit" in (project / "stack.py").read_text()


def test_an_isolated_pytest_works_without_our_plugin(project: Path) -> None:
    test = f"{sys.executable} -I -m pytest -q -p no:cacheprovider -o pythonpath=. tests"
    code, said = _mend(project, test, "--already-sandboxed")
    assert code == 0, said


@pytest.mark.parametrize("mode", MODES)
def test_what_cannot_be_mended_is_left_byte_for_byte(project: Path, mode: list[str]) -> None:
    before = _tree(project)
    messy = f"{SCRIPT}; mkdir -p __pycache__; echo x > __pycache__/left; echo x > left-behind; rm -f check_it.py; exit 1"
    code, said = _mend(project, messy, "--budget-seconds", "2", *mode)
    assert code == 1, said
    assert said["status"] == "not mended"
    assert _tree(project) == before


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_search_leaves_the_directory_as_it_was(project: Path, mode: list[str]) -> None:
    before = _tree(project)
    with subprocess.Popen(
        _command(project, "sleep 0.05; exit 1", *mode), stdout=subprocess.DEVNULL
    ) as process:
        time.sleep(2.0)
        process.kill()
    _eventually(lambda: _tree(project) == before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_restores_and_says_so(project: Path, number: signal.Signals) -> None:
    before = _tree(project)
    command = _command(project, "sleep 30; exit 1", "--already-sandboxed")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        time.sleep(1.5)
        process.send_signal(number)
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert json.loads(out)["status"] == "interrupted"
    assert _tree(project) == before


def test_the_command_sees_no_network_and_no_secrets(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    probe = 'test -z "$SOME_TOKEN" && test "$(ls /sys/class/net 2>/dev/null | grep -v \'^lo$\' | wc -l)" = 0'
    code, said = _mend(project, probe, "--budget-seconds", "5")
    assert code == 0, said
    assert said["status"] == "passes already"


def test_an_entry_of_the_path_that_cannot_be_looked_at_is_passed_by(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's folder; this name is too long for anybody, root included."""
    monkeypatch.setenv("PATH", os.pathsep.join(["/" + "x" * 300, os.environ["PATH"]]))
    assert _mend(project, "true")[0] == 0


def test_bad_usage_and_a_broken_environment_have_codes_of_their_own(project: Path, tmp_path: Path) -> None:
    assert _mend(tmp_path / "missing", "true")[0] == 2
    assert _mend(project, "true", "--jobs", "0")[0] == 2
    code, said = _mend(project, "no-such-program", "--already-sandboxed")
    assert code == 5
    assert said["status"] == "environment broken"


def test_suspects_say_where_to_look(project: Path, tmp_path: Path) -> None:
    suspects = tmp_path / "suspects.jsonl"
    suspects.write_text(json.dumps({"file": "stack.py", "line": 11, "score": 1.0}) + "\n")
    code, said = _mend(project, SCRIPT, "--already-sandboxed", "--suspects", str(suspects))
    assert code == 0, said
    assert int(str(said["tried"])) < 40


def _eventually(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.1)
