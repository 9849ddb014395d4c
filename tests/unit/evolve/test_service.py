"""What the processes are told."""

import json
from pathlib import Path

import pytest

from containers.substrate import load_manifest
from evolve.home import create_home
from evolve.product import Product
from evolve.service import Paths, upstream, write_configs
from evolve.settings import FILE_NAME, load_settings
from evolve.substrates import export_tiny

KEY = "a-key-that-nobody-may-see"
MODEL = """
[model]
base_url = "http://127.0.0.1:1"
api_key_file = "secrets/model.key"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    create_home(home, export_tiny, "solo")
    (home / FILE_NAME).write_text(MODEL)
    (home / "secrets").mkdir()
    (home / "secrets" / "model.key").write_text(f"{KEY}\n")
    return home


def test_a_models_key_is_read_from_its_file_and_never_told(home: Path) -> None:
    settings = load_settings(home)
    found = upstream(settings)
    assert found is not None
    assert found.api_key() == KEY
    write_configs(settings, load_manifest(settings.substrate_repository))
    assert KEY not in Paths(home).config("gateway").read_text()
    with Product.open(home) as product:
        assert KEY not in product.redactor.text(f"it said {KEY} aloud")


def test_the_promoter_is_told_what_the_live_instance_may_take(home: Path) -> None:
    (home / FILE_NAME).write_text("[live]\nfile_mib = 12\nmemory_mib = 2048\n")
    settings = load_settings(home)
    write_configs(settings, load_manifest(settings.substrate_repository))
    told = json.loads(Paths(home).config("promoter").read_text())["live"]
    assert told == {"memory_mib": 2048, "processes": 128, "open_files": 1024, "file_mib": 12}


def test_each_process_is_told_in_its_own_folder(home: Path) -> None:
    """In production a part sees its own folder and not the others'."""
    settings = load_settings(home)
    commands = write_configs(settings, load_manifest(settings.substrate_repository))
    paths = Paths(home)
    assert {name: Path(argv[-1]) for name, argv in commands.items()} == {
        "edge": home / "edge" / "config.json",
        "gateway": home / "gateway" / "config.json",
        "promoter": home / "promote" / "config.json",
    }
    assert Path(json.loads(paths.config("edge").read_text())["control"]).parent == home / "edge"
    assert paths.promoter_socket.parent == paths.config("promoter").parent
