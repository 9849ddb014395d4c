"""`$EVOLVE_HOME`: made once by `evolve init`, never half-made."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from containers.substrate import ManifestError, load_manifest
from evolve import worktree
from evolve.errors import BadInput, Broken, NeedsConsent, NotFound
from evolve.passwords import hash_password
from evolve.settings import FILE_NAME, Settings, load_settings
from promote.keys import KeyRefused, create_person_key, unlock

FOLDERS = ("blobs", "run", "keys", "logs", "runs", "graders")
STARTER = """\
# What is in force; `evolve config` prints it, docs/configuration.md explains every key.

[model]
# base_url = "http://127.0.0.1:8000"
# api_key_env = "OPENAI_API_KEY"
# usd_micros_per_million_input = 0
# usd_micros_per_million_output = 0

[consent]
policy = "{policy}"
"""


def create_home(home: Path, lay_out: Callable[[Path], None], policy: str) -> str:
    """Make `home` with the substrate that `lay_out` writes into a folder; returns the first commit.

    Raises BadInput when home exists or the substrate's manifest is wrong; then nothing is left behind.
    """
    if (home / FILE_NAME).exists():
        raise BadInput(f"{home}: is an evolve home already")
    home.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".evolve-", dir=home.parent))
    try:
        tree = staging / "tree"
        tree.mkdir()
        lay_out(tree)
        manifest = load_manifest(tree)
        commit = worktree.create_repository(staging / "substrate", tree, f"Import {manifest.name}")
        shutil.rmtree(tree)
        for name in FOLDERS:
            (staging / name).mkdir()
        (staging / "keys").chmod(0o700)
        (staging / FILE_NAME).write_text(STARTER.format(policy=policy), encoding="utf-8")
        _move_into(staging, home)
    except ManifestError as error:
        raise BadInput(str(error).replace(f"{staging / 'tree'}/", "")) from None
    except shutil.Error as error:
        # One (source, target, why) for each file; a full disk is said once.
        raise Broken(f"{home.parent}: {error.args[0][0][2]}", hint="nothing was left half-written") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return commit


def _move_into(staging: Path, home: Path) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise BadInput(
            f"{home}: exists and is no empty folder", hint="name a new folder with --home or $EVOLVE_HOME"
        )
    os.replace(staging, home)
    home.chmod(0o700)


def require_home(home: Path) -> None:
    """Raises NotFound with the way out."""
    if not (home / FILE_NAME).exists():
        raise NotFound(f"{home}: no {FILE_NAME} here", hint="`evolve init` makes one; or set EVOLVE_HOME")


def add_person(settings: Settings, name: str, roles: tuple[str, ...], passphrase: str) -> str:
    """Make a person's key and register its public half in evolve.toml; returns the public key."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name):
        raise BadInput(f"{name!r} is no name: lower-case letters, digits, - and _", hint="for example: alice")
    if name in settings.consent.people:
        raise BadInput(f"{name} is registered already")
    try:
        public = create_person_key(key_path(settings, name), passphrase)
    except KeyRefused as error:
        raise BadInput(str(error)) from None
    listed = ", ".join(f'"{role}"' for role in roles)
    block = f'\n[consent.people.{name}]\npublic_key = "{public}"\nroles = [{listed}]\n'
    text = (settings.home / FILE_NAME).read_text(encoding="utf-8")
    _replace_settings(settings.home, text + block + _sign_in(passphrase))
    return public


def renew_hash(settings: Settings, name: str, passphrase: str) -> None:
    """Store the hash of a person's passphrase anew in evolve.toml, where nothing else changes. Raises NeedsConsent when
    the passphrase is wrong."""
    if name not in settings.consent.people:
        raise NotFound(f"{name} is not registered", hint="`evolve people` lists everybody")
    try:
        unlock(key_path(settings, name), passphrase)
    except KeyRefused as error:
        raise NeedsConsent(str(error)) from None
    text = (settings.home / FILE_NAME).read_text(encoding="utf-8")
    head, mark, rest = text.partition(f"[consent.people.{name}]\n")
    if not mark:
        raise BadInput(f"{settings.home / FILE_NAME}: no section [consent.people.{name}]")
    own, bracket, others = rest.partition("\n[")
    kept = [line for line in own.splitlines() if not re.match(r"sign_in\s*=", line)]
    new = "\n".join(kept).rstrip("\n") + "\n" + _sign_in(passphrase)
    _replace_settings(settings.home, head + mark + new + bracket + others)


def _sign_in(passphrase: str) -> str:
    return f'sign_in = "{hash_password(passphrase)}"\n'


def _replace_settings(home: Path, text: str) -> None:
    path = home / FILE_NAME
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    load_settings(home)


def key_path(settings: Settings, name: str) -> Path:
    return settings.home / "keys" / "people" / f"{name}.pem"
