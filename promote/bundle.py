"""The bytes behind an approval: what the promoter hashes itself, whatever anyone says they hash to.

A bundle is a folder of plain files with fixed names. The promoter copies it into a folder of its own when a
request arrives, and hashes that copy at ACCEPT and again at START. The frozen objects in it are read as
plain JSON: the promoter knows their names and hashes, not the packages that made them.
"""

import json
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from evidence.canonical import canonical_json, digest
from evidence.ledger import sync_folder, write_durably
from promote.approval import Approval

FILES: Mapping[str, str] = {
    "candidate.json": "candidate_digest",
    "report.json": "report_digest",
    "batch.json": "batch_digest",
    "held_out.json": "held_out_digest",
    "diff.patch": "diff_sha256",
    "workflow_graph.json": "workflow_graph_sha256",
    "capability_diff.json": "capability_diff_sha256",
}
"""File name -> the approval's field that holds `digest(bytes)`."""
MAX_FILE = 64 << 20


class BundleRefused(Exception):
    """A file is missing, is no plain file, or is not what the approval says."""


def write_bundle(folder: Path, contents: Mapping[str, bytes | object]) -> dict[str, str]:
    """Write every file of FILES (objects as canonical JSON) and return the approval's hash fields."""
    if set(contents) != set(FILES):
        raise BundleRefused(f"a bundle holds exactly {', '.join(FILES)}")
    folder.mkdir(parents=True, exist_ok=True)
    fields = {}
    for name, content in contents.items():
        data = content if isinstance(content, bytes) else canonical_json(content)
        write_durably(folder / name, data)
        fields[FILES[name]] = digest(data)
    return fields


def take_in(source: Path, target: Path) -> None:
    """Copy a bundle into the promoter's own folder, whole or not at all."""
    staging = target.with_name(target.name + ".t")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        for name in FILES:
            write_durably(staging / name, read_plain(source / name))
        if not target.exists():
            os.replace(staging, target)
            sync_folder(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check(folder: Path, approval: Approval) -> None:
    """Recompute every hash from the held bytes and compare the objects with each other. Raises
    BundleRefused."""
    for name, field in FILES.items():
        if digest(read_plain(folder / name)) != getattr(approval, field):
            raise BundleRefused(f"{name}: not the bytes that were approved ({field})")
    candidate, report = (read_object(folder / name) for name in ("candidate.json", "report.json"))
    said: tuple[tuple[str, object, object], ...] = (
        ("candidate.json image", candidate.get("image"), approval.target_image),
        ("candidate.json base_image", candidate.get("base_image"), approval.base_image),
        ("candidate.json commit", candidate.get("commit"), approval.source_commit),
        ("candidate.json diff_sha256", candidate.get("diff_sha256"), approval.diff_sha256),
        ("candidate.json batch_digest", candidate.get("batch_digest"), approval.batch_digest),
        ("report.json candidate_digest", report.get("candidate_digest"), approval.candidate_digest),
        ("report.json candidate_image", report.get("candidate_image"), approval.target_image),
        ("report.json baseline_image", report.get("baseline_image"), approval.base_image),
        ("report.json batch_digest", report.get("batch_digest"), approval.batch_digest),
    )
    for what, found, approved in said:
        if found != approved:
            raise BundleRefused(f"{what}: {found!r}, but {approved!r} was approved")


def verdict(folder: Path) -> str:
    return str(read_object(folder / "report.json").get("verdict"))


def capability_growth(folder: Path, found: Collection[str] = ()) -> bool:
    """True when the candidate may do something that its base could not. `found`: what the images' own sources gained;
    raises BundleRefused when people were shown less than that."""
    said = read_object(folder / "capability_diff.json").get("added")
    shown = {str(name) for name in said} if isinstance(said, list) else set()
    if hidden := set(found) - shown:
        names = ", ".join(sorted(hidden))
        raise BundleRefused(f"capability_diff.json: the image also gained {names}; approve again")
    return bool(said)


def read_object(path: Path) -> dict[str, object]:
    """A JSON object in a plain file. Raises BundleRefused."""
    try:
        value = json.loads(read_plain(path))
    except ValueError:
        raise BundleRefused(f"{path.name}: not JSON") from None
    if not isinstance(value, dict):
        raise BundleRefused(f"{path.name}: not an object")
    return value


def read_plain(path: Path) -> bytes:
    """A plain file of bounded size, never through a link. Raises BundleRefused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BundleRefused(f"{path.name}: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE:
            raise BundleRefused(f"{path.name}: not a plain file of at most {MAX_FILE} bytes")
        return file.read()
