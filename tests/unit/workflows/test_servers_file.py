"""The servers file: what other programs write in it is borne, what is ours is checked, and mistakes are one clear line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.catalog import Contract, Move, ToolSpec
from workflows.servers.file import ServersFile, ServersFileError, read_servers, read_servers_file

FILE = Path("/conf/servers.json")
GIT = {"command": "git-server"}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["mcpServers", "command", "url", "state", "tools", "contracts", "env", "disabled"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def read(data: object, **environment: str) -> ServersFile:
    return read_servers(data, FILE, environment)


def one(entry: dict[str, Any], **environment: str) -> Any:
    return read({"mcpServers": {"one": entry}}, **environment).mcpServers["one"]


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    entry = {"command": "./serve", "state": ["data", "/abs/db.sqlite"], "cwd": "work"}
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"one": entry, "two": GIT}}))
    found = read_servers_file(tmp_path / "servers.json", {}).servers
    assert (found["one"].command, found["one"].cwd) == (f"{tmp_path}/serve", f"{tmp_path}/work")
    assert found["one"].state == (f"{tmp_path}/data", "/abs/db.sqlite")
    assert (found["two"].command, Path(found["two"].cwd), found["two"].state) == (
        "git-server",
        tmp_path,
        None,
    )


def test_what_other_programs_write_is_borne() -> None:
    entry = {**GIT, "type": "stdio", "autoApprove": ["x"], "alwaysAllow": [], "timeout": 60}
    off = {"command": "${NOT_SET}", "disabled": True}
    found = read({"mcpServers": {"a": entry, "b": off}, "globalShortcut": "x", "inputs": []})
    assert list(found.servers) == ["a"]


def test_variables_of_our_environment() -> None:
    entry = {
        "command": "x",
        "args": ["--key=${KEY}", "${NO:-none}", "${E:-}"],
        "env": {"A": "${KEY}"},
        "description": "${NO}",
    }
    found = one(entry, KEY="k")
    assert (found.args, found.env) == (("--key=k", "none", ""), {"A": "k"})
    assert one({"url": "http://x/${KEY}", "headers": {"a": "${KEY}"}}, KEY="k").headers == {"a": "k"}


def test_overrides_take_the_place_of_what_the_server_says() -> None:
    said = {
        "a": {"effect": "read"},
        "b": {"effect": "write"},
        "c": {"idempotent": True},
        "d": {"effect": "write", "idempotent": True},
    }
    entry = one({**GIT, "tools": said})
    reads = {"effect": "read", "idempotent": True}
    specs = [ToolSpec("s", "a"), ToolSpec("s", "b", **reads), ToolSpec("s", "c"), ToolSpec("s", "d", **reads)]  # type: ignore[arg-type]
    found = [
        (spec.effect, spec.idempotent) for spec in entry.corrected([*specs, ToolSpec("s", "e", **reads)])
    ]  # type: ignore[arg-type]
    assert found == [
        ("read", True),
        ("write", False),
        ("irreversible", True),
        ("write", True),
        ("read", True),
    ]


def test_contracts() -> None:
    tools = {"git/add": {"allowed": ["clean"], "to": "staged"}, "git/commit": {"allowed": ["staged"]}}
    found = read({"mcpServers": {}, "contracts": [{"name": "git", "start": "clean", "tools": tools}]})
    moves = {"git/add": Move(("clean",), "staged"), "git/commit": Move(("staged",))}
    assert found.as_contracts() == (Contract("git", "clean", moves),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected an object, found []"),
        ({}, "mcpServers: missing"),
        (
            {"mcpServers": {"a/b": GIT}},
            "mcpServers.a/b: expected a name of letters, digits, '.', '_' and '-', found 'a/b'",
        ),
        (
            {"mcpServers": {"a\nb": GIT}},
            "mcpServers.a\\nb: expected a name of letters, digits, '.', '_' and '-', found 'a\\nb'",
        ),
        (
            {"mcpServers": {"a": {**GIT, "env": {"x\ny": "${GONE}"}}}},
            "mcpServers.a.env.x\\ny: the environment has no GONE; set it",
        ),
        ({"mcpServers": {"a": {}}}, "mcpServers.a: give it either a 'command' or a 'url'"),
        (
            {"mcpServers": {"a": {**GIT, "url": "http://x"}}},
            "mcpServers.a: give it either a 'command' or a 'url'",
        ),
        ({"mcpServers": {"a": {"url": "x"}}}, "mcpServers.a: 'url' has to begin with http:// or https://"),
        (
            {"mcpServers": {"a": {"url": "http://x", "type": "sse"}}},
            "mcpServers.a: the old SSE transport is not spoken; give the address of its streamable HTTP",
        ),
        ({"mcpServers": {"a": {**GIT, "state": "x"}}}, "mcpServers.a.state: expected a list, found 'x'"),
        ({"mcpServers": {"a": {**GIT, "args": [1]}}}, "mcpServers.a.args.0: expected a valid string"),
        ({"mcpServers": {"a": {**GIT, "tool": {}}}}, "mcpServers.a: there is no key 'tool'; 'tools' is one"),
        (
            {"mcpServers": {"a": {**GIT, "States": []}}},
            "mcpServers.a: there is no key 'States'; 'state' is one",
        ),
        ({"mcpServers": {}, "contract": []}, "there is no key 'contract'; 'contracts' is one"),
        (
            {"mcpServers": {"a": {**GIT, "tools": {"x": {"efect": "read"}}}}},
            "mcpServers.a.tools.x.efect: unknown key; remove it",
        ),
        (
            {"mcpServers": {"a": {**GIT, "tools": {"x": {"effect": "none"}}}}},
            "mcpServers.a.tools.x.effect: expected 'read', 'write' or 'irreversible'",
        ),
        (
            {"mcpServers": {"a": {**GIT, "env": {"K": "${NO}"}}}},
            "mcpServers.a.env.K: the environment has no NO; set it",
        ),
        (
            {
                "mcpServers": {},
                "contracts": [{"name": "c", "start": "s", "tools": {"add": {"allowed": ["s"]}}}],
            },
            "contracts.0.tools.add: expected server/tool, found 'add'",
        ),
        ({"mcpServers": {}, "contracts": [{"name": "c", "tools": {}}]}, "contracts.0.start: missing"),
    ],
)
def test_mistakes_are_one_line_that_names_file_and_place(data: object, message: str) -> None:
    with pytest.raises(ServersFileError) as caught:
        read(data)
    assert str(caught.value) == f"/conf/servers.json: {message}"


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ServersFileError, match="No such file"):
        read_servers_file(tmp_path / "none.json")
    (tmp_path / "broken.json").write_bytes(b"\xff{")
    with pytest.raises(ServersFileError, match="not JSON"):
        read_servers_file(tmp_path / "broken.json")


@given(JSON, JSON)
def test_any_json_is_read_or_refused_in_one_line(data: object, entry: object) -> None:
    for found in (data, {"mcpServers": data}, {"mcpServers": {"one": entry}, "contracts": data}):
        refused = ""
        try:
            read(found)
        except ServersFileError as error:
            refused = str(error)
        assert "\n" not in refused
