"""Choosing an engine, and saying in one line why it can't be used. There is never a silent fall-back to no
sandbox."""

from pathlib import Path

from containers.bubblewrap import BubblewrapRuntime
from containers.docker_options import DockerOptions
from containers.runtime import EngineUnavailable, Runtime

ENGINES = ("auto", "bubblewrap", "docker")


def get_runtime(name: str, home: Path, docker: DockerOptions | None = None) -> Runtime:
    """The engine called `name` for this home; `auto` is docker where `docker` says how, else bubblewrap. Raises
    EngineUnavailable."""
    if name not in ENGINES:
        raise EngineUnavailable(f"unknown runtime {name!r}: one of {', '.join(ENGINES)}")
    if name == "bubblewrap" or (name == "auto" and docker is None):
        return BubblewrapRuntime(home)
    if docker is None:
        raise EngineUnavailable("the docker engine needs a base image: set [docker] base_image")
    from containers.docker_engine import DockerRuntime  # its library takes a good part of a command's start

    return DockerRuntime(home, docker)
