"""Coders by name."""

from pathlib import Path

from containers.runtime import Mount
from evolve.coding.call import Model
from evolve.coding.cli import CliCoder
from evolve.coding.clis import ADAPTERS
from evolve.coding.command import CommandCoder
from evolve.coding.mend import mend_coder
from evolve.coding.protocol import CodingCli
from evolve.coding.workflows import workflow_coder
from evolve.errors import BadInput
from evolve.prices import prices
from evolve.settings import WORKFLOWS, CoderSection, RunSection, Settings
from trial.gateway import Upstream


def get_coder(name: str, settings: Settings, section: RunSection) -> CodingCli:
    """`mend`, `workflows`, or one that is configured under [coders]. Raises BadInput."""
    if name == "mend":
        return mend_coder(section.coder_seconds, section.workers)
    if name == WORKFLOWS:
        return workflow_coder(section.coder_seconds, any_tool=section.workflows == "any_tool")
    found = settings.coders.get(name)
    if found is None:
        known = ", ".join(["mend", WORKFLOWS, *settings.coders])
        raise BadInput(
            f"no coder {name!r}", hint=f"there are: {known}; others go under [coders] in evolve.toml"
        )
    mounts = tuple(Mount(Path(folder), folder) for folder in found.mounts)
    env = {key: value.get_secret_value() for key, value in found.env.items()}
    model = _model(found)
    if found.kind == "command" or model is None:
        return CommandCoder(name, found.argv, env, mounts, model=model)
    return CliCoder(
        name,
        ADAPTERS[found.kind],
        (section.model if name in section.coders else "") or found.model,
        model,
        program=found.program,
        env=env,
        mounts=mounts,
        max_turns=found.max_turns,
        model_calls=found.max_model_calls,
    )


def _model(section: CoderSection) -> Model | None:
    if not section.base_url:
        return None
    upstream = Upstream(
        base_url=section.base_url,
        api_key_env=section.api_key_env or None,
        api_key_file=section.api_key_file,
        prices=prices(section),
        max_output_tokens=section.max_output_tokens,
    )
    return Model(upstream, section.patience_seconds)
