"""Everything that can be known before production is touched."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from containers.runtime import RuntimeBroken
from containers.substrate import ManifestError
from promote.approval import RollbackClass
from promote.generations import GenerationBroken, copy_state, size_of
from promote.live import SHADOW_EPOCH, Instances
from promote.probe import alive
from promote.records import Live
from promote.settings import Disk, Timing

_ORDER: dict[RollbackClass, int] = {"same": 0, "forward_compatible": 1, "lossy": 2}

LOSSY_UNASKED = (
    "the old image can't open the state that the new one leaves: promote it in two steps (expand, then contract), "
    "or let two people approve it as lossy"
)


class PreflightFailed(Exception):
    """The swap is closed; production was not touched."""


@contextmanager
def copied(source: Path, root: Path) -> Iterator[Path]:
    """A scratch folder with `data` (a copy of the state) and `ctl`, gone afterwards."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shadow-", dir=root, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        copy_state(source, folder / "data")
        (folder / "ctl").mkdir()
        (folder / "ctl" / ".lock").touch(mode=0o644)
        (folder / "ctl" / ".owner").write_text(str(SHADOW_EPOCH))
        yield folder


def room(data: Path, disk: Disk) -> None:
    """Refuse to begin what a full disk would stop half-way."""
    need = int(size_of(data) * disk.factor) + disk.spare_bytes
    free = shutil.disk_usage(data).free
    if free < need:
        raise PreflightFailed(f"disk: {free >> 20} MiB free, {need >> 20} MiB needed")


def opens(instances: Instances, digest: str, folder: Path, seconds: float) -> str | None:
    """Why this image can't open the state in `folder`, or None: its self-test and a boot say that it can."""
    manifest = instances.manifest(digest)
    if manifest.self_test is not None:
        code, output = instances.run_on(digest, manifest.self_test, folder / "data", seconds)
        if code != 0:
            return f"self-test {'did not end' if code is None else f'exit {code}'}: {output[-300:].strip()}"
    instance, socket = instances.shadow(digest, folder)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if alive(socket, manifest):
                return None
            if not instance.status().running:
                return f"it ended at boot: {instances.runtime.logs(instance, 600)[-300:].strip()}"
            time.sleep(0.03)
        return f"no answer on {manifest.liveness} within {seconds:g} s"
    finally:
        instances.runtime.stop(instance, 2.0)
        instances.runtime.remove(instance)
        shutil.rmtree(folder / "run", ignore_errors=True)


def measure(instances: Instances, base: Live, target: str, snapshot: Path, timing: Timing) -> RollbackClass:
    """Boot the candidate on a copy, then let the old image open what it left. By running, not by trusting
    labels."""
    manifest = instances.manifest(target)
    if manifest.migrate is not None:
        code, output = instances.run_on(target, manifest.migrate, snapshot / "data", timing.boot_seconds)
        if code != 0:
            raise PreflightFailed(f"migrate failed on a copy: {output[-300:].strip()}")
    why = opens(instances, target, snapshot, timing.boot_seconds)
    if why is not None:
        raise PreflightFailed(f"shadow boot: {why}")
    if opens(instances, base.digest, snapshot, timing.boot_seconds) is not None:
        return "lossy"
    same = manifest.state_schema.writes == instances.manifest(base.digest).state_schema.writes
    return "same" if same else "forward_compatible"


def check(
    instances: Instances, base: Live, target: str, approved: RollbackClass, snapshot: Path, timing: Timing
) -> RollbackClass:
    """Raises PreflightFailed with one line."""
    try:
        measured = measure(instances, base, target, snapshot, timing)
    except (RuntimeBroken, ManifestError, GenerationBroken) as error:
        raise PreflightFailed(f"{type(error).__name__}: {error}") from None
    if measured == "lossy" and approved != "lossy":
        raise PreflightFailed(LOSSY_UNASKED)
    if _ORDER[measured] > _ORDER[approved]:
        raise PreflightFailed(f"the state schema's class is {measured}, but {approved} was approved")
    return measured
