"""The cache of listings and learnt types: it comes back whole, forgets with another version, and bears any file."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workflows.servers.file import ServersFile, read_servers
from workflows.servers.schema_cache import SchemaCache, cached_catalog, entry_key

TOOLS = [{"name": "read", "inputSchema": {"type": "object"}}, {"name": "write", "inputSchema": {}}]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["v", "servers", "version", "tools", "learnt"]), inner, max_size=5)
    ),
)


def file(**more: object) -> ServersFile:
    return read_servers({"mcpServers": {"s": {"command": "x", **more}}}, Path("/conf/servers.json"), {})


def filled(path: Path, servers: ServersFile, version: str = "1") -> SchemaCache:
    cache = SchemaCache(path)
    cache.of("s", servers.servers["s"]).lists(version, TOOLS)
    cache.save()
    return cache


def test_a_catalog_without_servers(tmp_path: Path) -> None:
    path, servers = tmp_path / "deep/cache.json", file(tools={"read": {"effect": "read"}})
    assert cached_catalog(servers, path)[1] == ("s",)
    cache = filled(path, servers)
    memory = cache.of("s", servers.servers["s"])
    assert (memory.learns("read", {"a": 1}), memory.learns("read", {"a": 2}), memory.learns("read", {})) == (
        True,
        False,
        True,
    )
    cache.save()
    found, missing = cached_catalog(servers, path)
    assert (list(found.tools), missing) == (["s/read", "s/write"], ())
    assert found.tools["s/read"].effect == "read"
    assert found.output("s/read") == {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": [],
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["cache.json"]


def test_another_version_or_another_configuration_keeps_nothing(tmp_path: Path) -> None:
    path, servers = tmp_path / "cache.json", file()
    memory = filled(path, servers).of("s", servers.servers["s"])
    memory.learns("read", 1)
    memory.lists("1", TOOLS)
    assert memory.learnt
    memory.lists("2", TOOLS)
    assert not memory.learnt
    assert cached_catalog(file(args=["--other"]), path)[1] == ("s",)
    assert cached_catalog(file(env={"K": "v"}), path)[1] == ("s",)
    assert cached_catalog(file(state=["data"], tools={"read": {"effect": "read"}}), path)[1] == ()


def test_no_secret_is_written(tmp_path: Path) -> None:
    servers = file(env={"KEY": "hunter2"}, args=["--token=hunter2"])
    filled(tmp_path / "cache.json", servers)
    assert "hunter2" not in (tmp_path / "cache.json").read_text()
    assert entry_key("s", servers.servers["s"]) != entry_key("t", servers.servers["s"])


def test_what_another_process_saved_stays(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    one, two = filled(path, file(args=["1"])), SchemaCache(path)
    two.of("s", file(args=["2"]).servers["s"]).lists("1", TOOLS)
    two.save()
    one.save()
    assert [cached_catalog(file(args=[arg]), path)[1] for arg in "12"] == [(), ()]


def test_a_file_that_can_not_be_written_is_left(tmp_path: Path) -> None:
    (tmp_path / "cache.json").mkdir()
    filled(tmp_path / "cache.json", file())
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache.json"
    cache, before = filled(path, file()), path.read_bytes()

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.of("s", file().servers["s"]).lists("2", [])
    cache.save()
    assert (path.read_bytes(), [entry.name for entry in tmp_path.iterdir()]) == (before, ["cache.json"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()), JSON)
def test_any_file_is_borne(tmp_path: Path, data: bytes, entry: Any) -> None:
    path, servers = tmp_path / "cache.json", file()
    key = entry_key("s", servers.servers["s"])
    for found in (data, json.dumps({"v": 1, "servers": {key: entry}}).encode()):
        path.write_bytes(found)
        cached_catalog(servers, path)
        filled(path, servers)
        assert cached_catalog(servers, path)[1] == ()
