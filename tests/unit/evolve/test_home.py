"""A home is made whole or not at all."""

import os
import subprocess
from pathlib import Path

import pytest

from evolve.errors import BadInput, NotFound
from evolve.home import add_person, create_home, key_path, require_home
from evolve.settings import FILE_NAME, load_settings
from evolve.substrates import export_tiny


def siblings(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_home_holds_a_repository_and_nothing_for_others(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    commit = create_home(home, export_tiny, "separate")
    assert siblings(home.parent) == ["home"]
    assert (home.stat().st_mode & 0o777, (home / "keys").stat().st_mode & 0o777) == (0o700, 0o700)
    git = ["git", "-C", str(home / "substrate")]
    assert subprocess.check_output([*git, "rev-parse", "main"], text=True).strip() == commit
    assert subprocess.check_output([*git, "status", "--porcelain"], text=True) == ""
    assert load_settings(home).consent.policy == "separate"
    with pytest.raises(BadInput, match="already"):
        create_home(home, export_tiny, "solo")


def broken_manifest(tree: Path) -> None:
    export_tiny(tree)
    (tree / "substrate.toml").write_text("name = 7\n")


def no_manifest(tree: Path) -> None:
    (tree / "x.py").write_text("")


def interrupted(tree: Path) -> None:
    export_tiny(tree)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("lay_out", "error"),
    [(broken_manifest, BadInput), (no_manifest, BadInput), (interrupted, KeyboardInterrupt)],
)
def test_what_can_not_be_made_leaves_nothing(
    tmp_path: Path, lay_out: object, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        create_home(tmp_path / "home", lay_out, "solo")  # type: ignore[arg-type]
    assert siblings(tmp_path) == []


def test_foreign_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("x")
    plain = tmp_path / "plain"
    plain.write_text("x")
    for target in (taken, plain):
        with pytest.raises(BadInput, match="no empty folder"):
            create_home(target, export_tiny, "solo")
    assert siblings(tmp_path) == ["plain", "taken"]
    assert siblings(taken) == ["mine"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert create_home(empty, export_tiny, "solo")


def test_no_home_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        require_home(tmp_path)
    assert "evolve init" in caught.value.hint


def test_people(tmp_path: Path) -> None:
    home = tmp_path / "home"
    create_home(home, export_tiny, "separate")
    before = (home / FILE_NAME).read_text()
    for name in ("Ana", "../ana", "", "a b", 'x"]\n[web]'):
        with pytest.raises(BadInput, match="is no name"):
            add_person(load_settings(home), name, ("approver",), "a long passphrase")
    assert (home / FILE_NAME).read_text() == before
    public = add_person(load_settings(home), "ana", ("approver",), "a long passphrase")
    settings = load_settings(home)
    assert settings.consent.people["ana"].public_key == public
    key = key_path(settings, "ana")
    assert (os.stat(key).st_mode & 0o777, b"ENCRYPTED" in key.read_bytes()) == (0o600, True)
    with pytest.raises(BadInput, match="registered already"):
        add_person(settings, "ana", ("approver",), "a long passphrase")
