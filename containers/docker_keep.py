"""Images that nothing runs from, kept from whoever tidies the engine.

`docker system prune --all` takes every image that no running container refers to, and every stopped container before
that. So a container that does nothing but sleep runs from each image that must stay; it survives restarts of the engine.
"""

import contextlib
from collections.abc import Collection
from typing import Any

from docker import APIClient
from docker.errors import ImageNotFound, NotFound

from containers.docker_spec import LABEL

KEEPS = LABEL + "keeps"
"""Not a label of instances: nobody who looks for those finds a keeper."""
_MEMORY = 16 << 20


def keep(api: APIClient, owner: str, images: Collection[str]) -> None:
    """Exactly these images are kept for `owner`; one that is gone already is left out. Level-wise."""
    listed = api.containers(all=True, filters={"label": [f"{KEEPS}={owner}"]})
    kept = {row["ImageID"] for row in listed if row["State"] == "running"} & set(images)
    for image in sorted(set(images) - kept):
        with contextlib.suppress(ImageNotFound):
            _start(api, owner, image)
    for row in listed:
        if row["ImageID"] not in kept:
            with contextlib.suppress(NotFound):
                api.remove_container(row["Id"], v=True, force=True)


def _start(api: APIClient, owner: str, image: str) -> None:
    container = api.create_container_from_config(_sleeper(image, owner))["Id"]
    try:
        api.start(container)
    except BaseException:
        api.remove_container(container, v=True, force=True)
        raise


def _sleeper(image: str, owner: str) -> dict[str, Any]:
    return {
        "Image": image,
        "Entrypoint": ["sleep", "infinity"],
        "Cmd": [],
        "User": "65534:65534",
        "WorkingDir": "/",
        "Labels": {KEEPS: owner},
        "NetworkDisabled": True,
        "StopSignal": "SIGKILL",
        "HostConfig": {
            "CapDrop": ["ALL"],
            "IpcMode": "none",
            "LogConfig": {"Type": "none"},
            "Memory": _MEMORY,
            "MemorySwap": _MEMORY,
            "NetworkMode": "none",
            "PidsLimit": 4,
            "ReadonlyRootfs": True,
            "RestartPolicy": {"Name": "unless-stopped"},
            "SecurityOpt": ["no-new-privileges"],
        },
    }
