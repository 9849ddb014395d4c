"""Coders for the conformance suite: each known CLI with the scripted model server, and a plain command."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from coder_clis import CLIS, FIRST, node_folder
from model_server import KEY, Script, model_server

from containers.runtime import Runtime
from evolve.coding.call import Model
from evolve.coding.cli import CliCoder
from evolve.coding.clis import ADAPTERS
from evolve.coding.command import CommandCoder
from evolve.coding.conformance import Bench
from evolve.coding.protocol import CodingCli
from evolve.coding.steps import Edit, Read, Run, Say, Step
from trial.gateway import Price, Upstream

PATIENCE = 10.0
KINDS = [kind if kind in FIRST else pytest.param(kind, marks=pytest.mark.soak) for kind in CLIS]
"""All of them, for the long tests; the ordinary ones install the first three."""
DOLLAR_A_MILLION = Price(input=1_000_000, output=1_000_000)


def require(kind: str) -> None:
    """Skips where this CLI is not installed; in CI the first three must be."""
    cli = CLIS[kind]
    if cli.installed:
        return
    reason = f"{kind} {cli.version} is not installed: `make coders` installs it into {cli.folder}"
    if kind in FIRST and os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def upstream(url: str, folder: Path) -> Upstream:
    key = folder / "key"
    key.write_text(KEY, encoding="utf-8")
    return Upstream(base_url=url, api_key_file=key, prices={"*": DOLLAR_A_MILLION})


def cli_coder(kind: str, url: str, folder: Path, patience: float = PATIENCE) -> CliCoder:
    """The installed CLI, its model at `url`."""
    model = Model(upstream(url, folder), patience)
    return CliCoder(kind, ADAPTERS[kind], "m-1", model, program=str(CLIS[kind].path))


def cli_bench(kind: str, runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    node = node_folder()
    if node is not None:
        monkeypatch.setenv("PATH", f"{node}:{os.environ['PATH']}")

    @contextmanager
    def coder(steps: Sequence[Step]) -> Iterator[CodingCli]:
        with model_server(Script(steps)) as url:
            yield cli_coder(kind, url, folder)

    return Bench(
        runtime,
        coder,
        secret=KEY,
        runs_commands=kind != "aider",
        has_last_words=kind != "mini_swe_agent",
    )


def command_bench(runtime: Runtime) -> Bench:
    return Bench(runtime, _command(), secret=KEY, has_model=False, has_last_words=False)


def _command() -> Callable[[Sequence[Step]], "contextmanager[CodingCli]"]:
    @contextmanager
    def coder(steps: Sequence[Step]) -> Iterator[CodingCli]:
        script = "\n".join(_shell(step) for step in steps)
        yield CommandCoder("plain", ("sh", "-c", script))

    return coder  # type: ignore[return-value]


def _shell(step: Step) -> str:
    if isinstance(step, Run):
        return f"sh -c {shlex.quote(step.command)}"
    if isinstance(step, Edit):
        change = f"s{chr(1)}{step.old}{chr(1)}{step.new}{chr(1)}"
        return f"sed -i {shlex.quote(change)} {shlex.quote(step.file)}"
    if isinstance(step, Read):
        return f"cat {shlex.quote(step.file)}"
    assert isinstance(step, Say)
    return f"echo {shlex.quote(step.text)}"
