"""The bundled substrates, found as installed files and never imported."""

import importlib.util
import shutil
from pathlib import Path

from containers.substrate import FILE_NAME
from evolve.errors import Broken
from evolve.tree_files import DROPPINGS


def _installed(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Broken(f"the package {package} is not installed", hint="reinstall evolving-harness")
    return Path(next(iter(spec.submodule_search_locations)))


def copy_tree(source: Path, target: Path) -> None:
    """Plain files; tools' droppings stay behind."""
    left_out = shutil.ignore_patterns(*DROPPINGS, "*.pyc", ".git")
    shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)


def export_harness(target: Path) -> None:
    """Lay out the reference substrate: `harness/`, `workflows/`, and at the root its manifest and lock file."""
    for package in ("harness", "workflows"):
        copy_tree(_installed(package), target / package)
    shutil.rmtree(target / "harness" / "tiny", ignore_errors=True)
    for name in (FILE_NAME, "requirements.lock"):
        (target / "harness" / name).rename(target / name)


def export_tiny(target: Path) -> None:
    """Lay out the tiny substrate: standard library only."""
    copy_tree(_installed("harness") / "tiny", target)
