"""Images of commits: the one place where a commit's tree becomes an image with labels that say where it comes from."""

import shutil
from pathlib import Path

from containers.runtime import ImageRef, Runtime
from containers.substrate import load_manifest
from evolve import worktree


def build_commit(
    runtime: Runtime,
    repository: Path,
    commit: str,
    scratch: Path,
    *,
    run_id: str | None = None,
    batch_digest: str | None = None,
) -> ImageRef:
    """The image of `commit`, from git objects alone; by the commit's own `substrate.toml`, which no candidate may edit.
    `scratch` is a folder that may be wiped, and is gone afterwards. The same arguments give the same digest.

    Raises RuntimeBroken, ManifestError.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        worktree.export_tree(repository, commit, scratch)
        labels = {"commit": commit, "run": run_id, "batch": batch_digest}
        known = {name: text for name, text in labels.items() if text is not None}
        return runtime.build(scratch, load_manifest(scratch), known)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
