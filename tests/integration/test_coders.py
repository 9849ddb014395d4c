"""Real coding CLIs behind the seam: sessions, permissions, money, a model that recovers; and how they are found."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from coder_bench import KINDS, cli_coder, require
from coder_clis import CLIS
from model_server import Script, model_server

from containers.docker_options import DockerOptions
from containers.engine import get_runtime
from containers.runtime import Runtime
from evolve import worktree
from evolve.coding.cli import CliCoder
from evolve.coding.clis import ADAPTERS
from evolve.coding.clis.adapter import Order, Started
from evolve.coding.conformance import FILE, MENDED, RIGHT, SOURCE, WRONG
from evolve.coding.protocol import CodingBudget, CodingResult, CodingSandbox, CodingTask, Missing, Version
from evolve.coding.steps import Edit, Fault, Read, Run, Say, Step

MEND: Sequence[Step] = (Read(FILE), Edit(FILE, WRONG, RIGHT), Say("Mended."))
SECONDS = 300.0
RESUMING = ["claude_code", "codex", pytest.param("opencode", marks=pytest.mark.soak)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A worktree with its sandbox's folders."""
    source = tmp_path / "source"
    source.mkdir()
    (source / FILE).write_text(SOURCE)
    base = worktree.create_repository(tmp_path / "origin", source, "baseline")
    worktree.export_for_coder(tmp_path / "origin", base, tmp_path / "scratch" / "repo")
    (tmp_path / "scratch" / "check").mkdir()
    return tmp_path


def call(
    place: Path, runtime: Runtime, coder: CliCoder, task: CodingTask | None = None, **limits: int
) -> CodingResult:
    scratch = place / "scratch"
    return coder.run(
        task or CodingTask("Mend add().", likely=(FILE,)),
        scratch / "repo",
        sandbox=CodingSandbox(runtime, scratch, scratch / "check", place / "audit"),
        budget=CodingBudget(SECONDS, **limits),
    )


def mended(place: Path) -> bool:
    return (place / "scratch" / "repo" / FILE).read_text() == MENDED


@pytest.mark.parametrize("kind", RESUMING)
def test_a_session_is_taken_up_again(place: Path, kind: str) -> None:
    require(kind)
    runtime = get_runtime("bubblewrap", place / "home")
    script = Script([Say("Which of them?")], rules=[("was written anew", MEND)])
    with model_server(script) as url:
        coder = cli_coder(kind, url, place)
        first = call(place, runtime, coder)
        assert (first.outcome, bool(first.session), mended(place)) == ("asked", True, False)
        second = call(place, runtime, coder, CodingTask("Decide.", likely=(FILE,), resume=first.session))
    assert (second.outcome, second.session, mended(place)) == ("edited", first.session, True)
    assert "Which of them?" in json.dumps(script.requests[-1])  # it remembers


def test_an_edit_that_was_not_permitted_is_told_apart(place: Path) -> None:
    require("claude_code")
    adapter = ADAPTERS["claude_code"]

    def careful(order: Order) -> Started:
        started = adapter.build(order)
        argv = tuple(word for word in started.argv if word != "--dangerously-skip-permissions")
        return replace(started, argv=argv)

    with model_server(Script(MEND)) as url:
        coder = replace(cli_coder("claude_code", url, place), adapter=replace(adapter, build=careful))
        result = call(place, get_runtime("bubblewrap", place / "home"), coder)
    assert (result.outcome, result.exit_code, mended(place)) == ("denied_edit", 0, False)


@pytest.mark.parametrize("kind", ["claude_code", "codex", "mini_swe_agent"])
def test_a_dear_answer_is_the_last(place: Path, kind: str) -> None:
    require(kind)
    script = Script([Fault("dear", times=1), *[Run("true")] * 40, Say("Done.")])
    with model_server(script) as url:
        runtime = get_runtime("bubblewrap", place / "home")
        result = call(place, runtime, cli_coder(kind, url, place), usd_micros=5_000_000)
    assert result.outcome == "out_of_budget"
    assert "the cap is 5000000" in result.reason
    assert len(script.requests) == 1
    assert result.usd_micros > 5_000_000  # what it really cost is what is booked


@pytest.mark.parametrize("kind", ["claude_code", "codex", "mini_swe_agent"])
def test_trouble_that_passes_does_no_harm(place: Path, kind: str) -> None:
    require(kind)
    with model_server(Script([Fault("rate_limit", times=1), Fault("server_error", times=1), *MEND])) as url:
        coder = cli_coder(kind, url, place, patience=120)
        result = call(place, get_runtime("bubblewrap", place / "home"), coder)
    assert (result.outcome, mended(place)) == ("edited", True)


def test_a_cli_works_in_a_container_too(place: Path, docker_options: DockerOptions) -> None:
    require("codex")
    runtime = get_runtime("auto", place / "home", docker_options)
    with model_server(Script(MEND)) as url:
        result = call(place, runtime, cli_coder("codex", url, place))
    assert (result.outcome, mended(place), runtime.find({})) == ("edited", True, [])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_installed_is_found(tmp_path: Path, kind: str) -> None:
    require(kind)
    coder = cli_coder(kind, "http://127.0.0.1:9", tmp_path)
    assert coder.probe() == Version(f"{ADAPTERS[kind].program} {CLIS[kind].version}")
    gone = replace(coder, program="/nowhere/cli").probe()
    assert isinstance(gone, Missing)
    assert ADAPTERS[kind].package in gone.reason
    (tmp_path / "key").unlink()
    assert "api_key_file" in str(coder.probe())
