"""The shipped conformance suite of coders over every CLI that is installed, and over a plain command on both engines."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from coder_bench import cli_bench, command_bench, require
from coder_clis import CLIS

from containers.conformance import failures
from containers.docker_options import DockerOptions
from containers.engine import get_runtime
from containers.runtime import Mount
from evolve.coding.command import CommandCoder
from evolve.coding.conformance import WANTED, run_conformance
from evolve.coding.protocol import CodingCli
from evolve.coding.steps import Step

QUICK = ("claude_code",)
KINDS = [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.soak) for kind in CLIS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cli_holds_what_every_coder_must(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(kind)
    runtime = get_runtime("bubblewrap", tmp_path / "home")
    findings = run_conformance(cli_bench(kind, runtime, tmp_path, monkeypatch), tmp_path / "work")
    assert failures(findings) == {}
    assert {f"model: {fault}" for fault in WANTED} <= {finding.name for finding in findings}
    assert runtime.find({}) == []


def test_a_plain_command_holds_it_too(tmp_path: Path, engine: DockerOptions | None) -> None:
    runtime = get_runtime("auto", tmp_path / "home", engine)
    findings = run_conformance(command_bench(runtime), tmp_path / "work")
    assert failures(findings) == {}
    assert len(findings) >= 18
    assert runtime.find({}) == []


def test_the_suite_notices_a_coder_that_sees_too_much_and_leaves_things(tmp_path: Path) -> None:
    runtime = get_runtime("bubblewrap", tmp_path / "home")
    bench = command_bench(runtime)

    @contextmanager
    def leaky(steps: Sequence[Step]) -> Iterator[CodingCli]:
        with bench.coder(steps) as plain:
            assert isinstance(plain, CommandCoder)
            argv = (*plain.argv[:2], f"touch .left; {plain.argv[2]}")
            mounts = (Mount(tmp_path, str(tmp_path)),)
            yield replace(plain, argv=argv, env={**os.environ, "KEY": bench.secret}, mounts=mounts)

    found = failures(run_conformance(replace(bench, coder=leaky), tmp_path / "work"))
    seen = {"inside: the host's files", "inside: the host's environment", "inside: the real key"}
    assert seen | {"leaves nothing of its own", "a claim is no edit"} <= found.keys()
