"""What an operator says about the Docker Engine; apart from the engine, for its library is slow to import."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class DockerOptions(BaseModel):
    """Where the engine is and what everything stands on."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    base_image: str
    """Id or name of an image with `python3`, of the control plane's own minor version."""
    host: str | None = None
    """A unix socket, for folders of this machine are mounted; not set: `$DOCKER_HOST`, else the usual one."""
    host_tools: bool = True
    """Coders and shell graders find this machine's /usr; false: the base image's own, as is needed where the control plane
    itself runs in a container, for the engine mounts folders of the machine."""
    oci_runtime: str | None = None
    """`runsc` for gVisor; not set: the engine's default."""
    wheelhouse: Path | None = None
    """Dependencies come from this folder of wheels alone, by hash; not set: from where pip is set to."""
