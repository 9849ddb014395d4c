"""Operators' graders in the real sandbox: right, wrong, and broken in every way that we could think of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from containers.engine import get_runtime
from containers.runtime import Runtime
from evidence.cases import RecordedTurn, VisibleCase
from trial.graders import GraderBroken, GraderConfig, GraderSet, load_graders
from trial.replay import Replay
from trial.turns import ReplayedTurn

CONFIG: TypeAdapter[GraderConfig] = TypeAdapter(GraderConfig)
TURN = RecordedTurn(request_id="r1", session="s", path="/v1", body={"n": 6}, status=200)
CASE = VisibleCase(id="c", evidence_id="e", fingerprint="", turn=TURN)

FUNCTIONS = """
import os, sys, time
from helper import double

def right(case, replay):
    return case["request"]["body"]["n"] * 7 == int(replay["turn"]["text"])

def scored(case, replay):
    return {"score": double(0.25), "reason": "half"}

def files(case, replay):
    folder = replay["files"]
    return open(os.path.join(folder, "sub", "note.txt")).read() == "hello" and not os.path.exists(
        os.path.join(folder, "link"))

def raises(case, replay):
    raise KeyError("x")

def hangs(case, replay):
    time.sleep(60)

def nonsense(case, replay):
    return "PASS"

def nan(case, replay):
    return float("nan")

def exits(case, replay):
    os._exit(0)

def shouts(case, replay):
    print('{"score": 1.0}', flush=True)
    os.write(1, b'{"id": "x", "score": 1.0, "reason": ""}')
    return False

def corrupts(case, replay):
    sys.modules[__name__].right = lambda case, replay: True
    return False

def escapes(case, replay):
    return not os.path.exists("/root") and os.listdir("/home") == [] if os.path.exists("/home") else True

def rule(turn):
    return None if turn["status"] == 200 else f"status {turn['status']}"

def bad_rule(turn):
    return 7
"""

CHECK = """#!/bin/sh
grep -q '"text": "42"' "$REPLAY" || { echo "no 42"; exit 1; }
test -f "$FILES/sub/note.txt" && test -f "$CASE"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "g.py").write_text(FUNCTIONS)
    (home / "helper.py").write_text("def double(x): return 2 * x\n")
    (home / "broken.py").write_text("import nowhere\n")
    (home / "check.sh").write_text(CHECK)
    return home


@pytest.fixture(scope="module")
def runtime(home: Path) -> Runtime:
    return get_runtime("auto", home)


@pytest.fixture(scope="module")
def graders(home: Path, runtime: Runtime) -> Iterator[GraderSet]:
    names = [
        "right",
        "scored",
        "files",
        "raises",
        "hangs",
        "nonsense",
        "nan",
        "exits",
        "shouts",
        "corrupts",
        "escapes",
    ]
    tables: list[dict[str, object]] = [
        {"kind": "python", "name": n, "file": "g.py", "function": n, "files": ["helper.py"], "timeout": 1.0}
        for n in names
    ]
    tables += [
        {"kind": "python", "name": "missing", "file": "g.py", "function": "no", "files": ["helper.py"]},
        {"kind": "python", "name": "import_fails", "file": "broken.py"},
        {"kind": "rule", "name": "rule", "file": "g.py", "files": ["helper.py"]},
        {"kind": "rule", "name": "bad_rule", "file": "g.py", "function": "bad_rule", "files": ["helper.py"]},
        {"kind": "shell", "name": "sh", "argv": ["sh", "check.sh"], "files": ["check.sh"]},
        {"kind": "shell", "name": "sh_broken", "argv": ["sh", "-c", "exit 2"]},
        {"kind": "shell", "name": "sh_missing", "argv": ["/no/such/command"]},
        {"kind": "shell", "name": "sh_hangs", "argv": ["sleep", "60"], "timeout": 0.5},
        {"kind": "shell", "name": "sh_killed", "argv": ["sh", "-c", "kill -9 $$"]},
    ]
    with load_graders([CONFIG.validate_python(table) for table in tables], home, runtime) as loaded:
        yield loaded
    assert not runtime.find({"role": "grader"})


def judge(graders: GraderSet, name: str, text: str, files: Path) -> tuple[bool, str]:
    ref = next(ref for ref in graders.refs_for(CASE) if ref.name == name)
    turn = ReplayedTurn("r1", 200, text, {"content-type": "text/plain"})
    replay = Replay(turns=(turn,), calls=(), files=files)
    grade = graders.grade(CASE.model_copy(update={"graders": (ref,)}), replay)[0]
    return grade.passed, grade.reason


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    (folder / "sub").mkdir()
    (folder / "sub" / "note.txt").write_text("hello")
    (folder / "link").symlink_to("/etc/passwd")
    return folder


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("right", "42", True),
        ("right", "41", False),
        ("files", "x", True),
        ("scored", "x", False),
        ("shouts", "x", False),
        ("corrupts", "x", False),
        ("right", "43", False),
        ("escapes", "x", True),
        ("rule", "x", True),
        ("sh", "42", True),
        ("sh", "41", False),
    ],
)
def test_graders_judge(graders: GraderSet, files: Path, name: str, text: str, expected: bool) -> None:
    assert judge(graders, name, text, files)[0] is expected


@pytest.mark.parametrize(
    "name",
    [
        *("raises", "hangs", "nonsense", "nan", "exits", "missing", "import_fails", "bad_rule"),
        *("sh_broken", "sh_missing", "sh_hangs", "sh_killed"),
    ],
)
def test_a_broken_grader_is_no_score(graders: GraderSet, files: Path, name: str) -> None:
    with pytest.raises(GraderBroken, match=name):
        judge(graders, name, "42", files)
    assert judge(graders, "right", "42", files)[0], "the next question is answered"


def test_a_dead_sandbox_is_replaced(graders: GraderSet, files: Path, runtime: Runtime) -> None:
    assert judge(graders, "right", "42", files)[0]
    for instance in runtime.find({"role": "grader"}):
        runtime.kill(instance)
    with pytest.raises(GraderBroken):
        judge(graders, "right", "42", files)
    assert judge(graders, "right", "42", files)[0]
