"""The supervisor: starts, restarts, ends; and leaves nothing behind however it dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from promote_rig import ROOT, until

from promote.supervisor import read_status


def start(tmp_path: Path, *programs: dict[str, object]) -> subprocess.Popen[bytes]:
    config = {"programs": list(programs), "status": str(tmp_path / "status.json")}
    (tmp_path / "supervisor.json").write_text(json.dumps(config))
    argv = [sys.executable, "-m", "promote.supervisor", "--config", str(tmp_path / "supervisor.json")]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SECRET": "kept back"}
    return subprocess.Popen(argv, env=env)


def program(tmp_path: Path, name: str, code: str) -> dict[str, object]:
    return {"name": name, "argv": [sys.executable, "-c", code], "log": str(tmp_path / f"{name}.log")}


def pid_of(tmp_path: Path, name: str) -> int:
    status = read_status(tmp_path / "status.json")
    assert status is not None
    programs = status["programs"]
    assert isinstance(programs, dict)
    return int(programs[name]["pid"] or 0)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


SLEEP = "import time\ntime.sleep(600)"


def test_a_program_that_ends_is_started_again_and_the_others_are_left_alone(tmp_path: Path) -> None:
    supervisor = start(tmp_path, program(tmp_path, "one", SLEEP), program(tmp_path, "two", SLEEP))
    try:
        first = until(lambda: (tmp_path / "status.json").exists() and pid_of(tmp_path, "one"), 60.0)
        second = until(lambda: pid_of(tmp_path, "two"), 60.0)
        os.kill(int(first), signal.SIGKILL)
        again = until(lambda: pid_of(tmp_path, "one") not in (0, first) and pid_of(tmp_path, "one"), 60.0)
        assert pid_of(tmp_path, "two") == second
        supervisor.terminate()
        assert supervisor.wait(20) == 0
        until(lambda: gone(int(again)) and gone(int(second)), 60.0)
        assert read_status(tmp_path / "status.json") is None
    finally:
        supervisor.kill()
        supervisor.wait()


def test_when_the_supervisor_is_killed_its_programs_end(tmp_path: Path) -> None:
    supervisor = start(tmp_path, program(tmp_path, "one", SLEEP))
    child = until(lambda: (tmp_path / "status.json").exists() and pid_of(tmp_path, "one"), 60.0)
    supervisor.kill()
    supervisor.wait()
    until(lambda: gone(int(child)), 60.0)


def test_a_program_sees_nothing_of_the_callers_environment_but_what_it_needs(tmp_path: Path) -> None:
    code = "import os, time\nprint(sorted(os.environ), flush=True)\ntime.sleep(600)"
    supervisor = start(tmp_path, {**program(tmp_path, "one", code), "env": {"GIVEN": "1"}})
    try:
        words = until(lambda: (tmp_path / "one.log").read_text(), 60.0)
        assert "SECRET" not in words
        assert "GIVEN" in words
    finally:
        supervisor.terminate()
        supervisor.wait()


def test_a_program_that_never_starts_does_not_spin(tmp_path: Path) -> None:
    supervisor = start(tmp_path, program(tmp_path, "one", "raise SystemExit(1)"))
    try:
        until(lambda: (tmp_path / "status.json").exists(), 60.0)
        time.sleep(2.0)
        status = read_status(tmp_path / "status.json")
        assert status is not None
        assert status["programs"]["one"]["starts"] <= 6  # type: ignore[index]
    finally:
        supervisor.terminate()
        supervisor.wait()


@pytest.mark.parametrize("text", ["{", "{}", '{"programs": [], "status": "s", "colour": "red"}'])
def test_a_wrong_configuration_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "supervisor.json"
    path.write_text(text)
    argv = [sys.executable, "-m", "promote.supervisor", "--config", str(path)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
