"""Coders by name."""

from pathlib import Path

from containers.runtime import Mount
from evolve.coding.command import CommandCoder
from evolve.coding.mend import mend_coder
from evolve.coding.protocol import CodingCli
from evolve.errors import BadInput
from evolve.settings import RunSection, Settings


def get_coder(name: str, settings: Settings, section: RunSection) -> CodingCli:
    """`mend`, or a command configured under [coders]. Raises BadInput."""
    if name == "mend":
        return mend_coder(section.coder_seconds, section.workers)
    found = settings.coders.get(name)
    if found is None:
        known = ", ".join(["mend", *settings.coders])
        raise BadInput(
            f"no coder {name!r}", hint=f"there are: {known}; others go under [coders] in evolve.toml"
        )
    mounts = tuple(Mount(Path(folder), folder) for folder in found.mounts)
    env = {key: value.get_secret_value() for key, value in found.env.items()}
    return CommandCoder(name, found.argv, env, mounts)
