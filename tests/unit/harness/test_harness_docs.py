"""What the pages say is enumerated from the code."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from containers.substrate import Canary, SubstrateManifest, load_manifest
from harness.guards import shipped_hooks
from harness.settings import Limits, Planning, Policy, Settings, ToolPolicy, read_policy

ROOT = Path(__file__).parents[3]
SUBSTRATE = (ROOT / "docs/substrate.md").read_text()
HARNESS = (ROOT / "docs/harness.md").read_text()


@pytest.mark.parametrize("name", [*SubstrateManifest.model_fields, *Canary.model_fields])
def test_every_key_of_the_manifest_is_explained(name: str) -> None:
    assert f"`{name}" in SUBSTRATE


def test_every_event_kind_and_field_is_explained() -> None:
    schema = json.loads((ROOT / "docs/schemas/event.schema.json").read_text())
    for part in schema["allOf"][1:]:
        assert f"`{part['if']['properties']['kind']['const']}`" in SUBSTRATE
        assert all(f"`{name}`" in SUBSTRATE for name in part["then"].get("properties", {}))
    assert all(f"`{name}`" in SUBSTRATE for name in schema["properties"])


def test_every_hook_policy_key_and_module_is_explained() -> None:
    hooks = shipped_hooks(read_policy())
    for chain in hooks:
        assert all(f"`{hook.name}`" in HARNESS for hook in chain.hooks)
    assert all(f"`{name}`" in HARNESS for name in Limits._fields)
    assert all(f"`planning.{name}`" in HARNESS for name in Planning._fields)
    assert all(f"`tools.{field.name}`" in HARNESS for field in fields(ToolPolicy))
    assert all(f"`{field.name}" in HARNESS for field in fields(Policy))
    for module in (ROOT / "harness").glob("[a-z]*.py"):
        assert f"`{module.stem}`" in HARNESS
    assert len(Settings._fields) == 8  # a new one is a new variable of the environment: docs/substrate.md


@pytest.mark.parametrize("folder", ["harness", "harness/tiny"])
def test_the_bundled_manifests_are_valid(folder: str) -> None:
    manifest = load_manifest(ROOT / folder)
    assert manifest.canaries
    assert manifest.self_test
    assert manifest.delete_session
    if manifest.lock_file:
        assert "://" not in (ROOT / folder / manifest.lock_file).read_text()
