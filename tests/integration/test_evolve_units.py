"""The units for systemd, read by systemd's own checker."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from evolve.settings import Settings
from evolve.units import write_units


def test_systemd_finds_no_fault_and_reads_the_home_as_it_is(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    home = tmp_path / "100% agent"
    home.mkdir()
    written = write_units(Settings(home=home), tmp_path / "units")
    assert [path.name for path in written] == [
        "evolve.service",
        "evolve-recover.service",
        "evolve-recover.timer",
    ]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, written)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "evolve" in line]
    assert (done.returncode, ours) == (0, [])
    service = written[0].read_text()
    assert f'Environment="EVOLVE_HOME={home}"' == unescaped(service, "Environment")
    assert f"EnvironmentFile=-{home}/environment" == unescaped(service, "EnvironmentFile")


def test_a_unit_starts_the_program_that_wrote_it(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    service = write_units(Settings(home=tmp_path / "home"), tmp_path)[0].read_text()
    [line] = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    program, *arguments = shlex.split(line.removeprefix("ExecStart="))
    assert arguments == ["agent", "start", "--reason", "boot"]
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert "evolv" in told.stdout


def unescaped(unit: str, key: str) -> str:
    [line] = [line for line in unit.splitlines() if line.startswith(f"{key}=")]
    return line.replace("%%", "%").replace("\\x20", " ")
