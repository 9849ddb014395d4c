"""Workflows to be drawn: one that a candidate mends, a new one that reaches further, a crowded one, and what is none."""

import json
import re
from collections.abc import Callable
from typing import Any

NEWS = "notes/search_notes"


def clock(**second: Any) -> dict[str, Any]:
    """Two zones at once; `second` overrides what the second step takes."""
    takes = {"source_timezone": {"ref": "inputs.source"}, "time": {"ref": "inputs.time"}}
    return {
        "v": 1,
        "name": "world_clock",
        "description": "What a time of day in one zone is in two others.",
        "trigger": r"^(?P<time>\d{2}:\d{2}) in (?P<source>\w+) when in (?P<first>\w+) and (?P<second>\w+)$",
        "inputs": {name: {"type": "string"} for name in ("time", "source", "first", "second")},
        "nodes": [
            {
                "id": "first",
                "kind": "tool",
                "tool": "time/convert_time",
                "arguments": {**takes, "target_timezone": {"ref": "inputs.first"}},
            },
            {
                "id": "second",
                "kind": "tool",
                "tool": "time/convert_time",
                "arguments": {**takes, "target_timezone": {"ref": "inputs.second"}, **second},
            },
            {
                "id": "answer",
                "kind": "output",
                "text": "{one}\n{two}",
                "values": {"one": {"ref": "first.target.datetime"}, "two": {"ref": "second.target.datetime"}},
            },
        ],
    }


def digest_of_notes() -> dict[str, Any]:
    """Branch, map, merge, validator, an order without results, and arrows that pass other steps."""
    return {
        "v": 1,
        "name": "digest_of_notes",
        "description": "Finds notes, reads each, and sums them up; keeps the sum where there is something to keep.",
        "inputs": {"topic": {"type": "string"}, "folder": {"type": "string"}},
        "nodes": [
            {"id": "find", "kind": "tool", "tool": NEWS, "arguments": {"query": {"ref": "inputs.topic"}}},
            {"id": "allowed", "kind": "tool", "tool": "filesystem/list_allowed_directories"},
            {"id": "size", "kind": "tool", "tool": "filesystem/list_directory_with_sizes",
             "arguments": {"path": {"ref": "inputs.folder"}}},
            {"id": "some", "kind": "branch", "otherwise": "none",
             "arms": [{"name": "found", "when": {"exists": {"ref": "find.0"}}}]},
            {"id": "read", "kind": "map", "when": "some.found", "over": {"ref": "find"}, "limit": 20,
             "each": {"tool": "notes/read_note", "arguments": {"name": {"ref": "item"}}}},
            {"id": "whole", "kind": "validator", "value": {"ref": "read"}, "schema": {"type": "array"}},
            {"id": "nothing", "kind": "tool", "tool": "notes/last_note", "when": "some.none"},
            {"id": "either", "kind": "merge", "sources": [{"ref": "whole"}, {"ref": "nothing"}]},
            {"id": "keep", "kind": "tool", "tool": "filesystem/write_file", "after": ["allowed"],
             "arguments": {"path": {"ref": "inputs.folder"}, "content": {"ref": "either"}}},
            {"id": "answer", "kind": "output", "text": "{sum} ({size})", "after": ["keep"],
             "values": {"sum": {"ref": "either"}, "size": {"ref": "size"}}},
        ],
    }  # fmt: skip


def wide(count: int = 63) -> dict[str, Any]:
    """As many steps at once as a workflow may have."""
    steps = [{"id": f"s{n}", "kind": "tool", "tool": "git/git_status"} for n in range(count)]
    values = {f"v{n}": {"ref": f"s{n}"} for n in range(count)}
    return {
        "v": 1,
        "name": "wide",
        "description": "",
        "nodes": [*steps, {"id": "end", "kind": "output", "text": "", "values": values}],
    }


def text(*workflows: dict[str, Any]) -> dict[str, str]:
    return {f"{one['name']}.json": json.dumps(one, indent=2) + "\n" for one in workflows}


BEFORE = {**text(clock(target_timezone={"ref": "inputs.first"})), **text(wide()), "broken.json": "{"}
AFTER = {**text(clock(), digest_of_notes(), wide()), "broken.json": '{"v": 1, "name": "<script>"}'}


def hostile_library(hostile: Callable[[str], str]) -> dict[str, str]:
    """Texts everywhere where a workflow may have any, and a file that is none."""
    evil = clock(time={"value": hostile("12:30")})
    evil |= {"description": hostile("a clock"), "trigger": re.escape(hostile("what time"))}
    evil["nodes"][2] |= {"text": hostile("{one} {two}"), "after": ["first"]}
    evil["nodes"].append(
        {"id": "asked", "kind": "model", "prompt": "{x}", "values": {hostile("x"): {"value": 1}}}
    )
    other = digest_of_notes()
    other["nodes"][0]["arguments"] = {hostile("query"): {"ref": f"inputs.{hostile('topic')}"}}
    other["nodes"][3]["arms"][0]["when"] = {
        "left": {"value": hostile("a")},
        "op": "eq",
        "right": {"value": 1},
    }
    other["nodes"][9]["when"] = hostile("some.found")
    return {**text(evil, other), "none.json": json.dumps({"v": 1, hostile("name"): hostile("none")})}
