"""A planner whose answers are given, and tools over a dictionary of files."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workflows.calling import Outcome, ToolRequest
from workflows.catalog import ToolSpec, catalog
from workflows.model import ModelFailed, Said

TEXT = {"type": "string"}


def takes(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


CONTENT = {"type": "object", "properties": {"content": TEXT}, "required": ["content"]}
STAT = {
    "type": "object",
    "properties": {"size": {"type": "integer"}, "owner": TEXT},
    "required": ["size", "owner"],
}
TOOLS = catalog(
    [
        ToolSpec("files", "read_file", "Read the text of a file.", takes(path=TEXT), CONTENT, effect="read"),
        ToolSpec("files", "write_file", "Write text into a file.", takes(path=TEXT, content=TEXT), TEXT),
        ToolSpec("files", "stat", "Size and owner of a file.", takes(path=TEXT), STAT, effect="read"),
        ToolSpec("disk", "load", "Load what is there.", takes(path=TEXT), CONTENT, effect="read"),
        ToolSpec("words", "shout", "Shout a message.", takes(message=TEXT), TEXT, effect="read"),
    ]
)
COPY = "Read the text of a.txt and write it into the file b.txt."
COPIED: dict[str, Any] = {
    "steps": [
        {"id": "s1", "tool": "files/read_file", "arguments": {"path": "a.txt"}},
        {"id": "s2", "tool": "files/write_file", "arguments": {"path": "b.txt", "content": "{s1.content}"}},
    ],
    "answer": "It is copied.",
}


class Planner:
    """Says one text after the other, the last one for ever; None: it fails."""

    def __init__(self, *texts: str | None, tokens: int = 100) -> None:
        self._texts, self._each = texts, tokens
        self.asked: list[Sequence[Mapping[str, str]]] = []

    @property
    def tokens(self) -> int:
        return self._each * len(self.asked)

    async def complete(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Said:
        self.asked.append(messages)
        text = self._texts[min(len(self.asked), len(self._texts)) - 1]
        if text is None:
            raise ModelFailed("it is not there")
        return Said(text, self._each, 0)


class Files:
    def __init__(self, files: Mapping[str, str]) -> None:
        self.first, self.files = dict(files), dict(files)
        self.calls: list[ToolRequest] = []

    def put_back(self) -> None:
        self.files = dict(self.first)

    async def tool(self, request: ToolRequest) -> Outcome:
        self.calls.append(request)
        arguments = request.arguments
        path = str(arguments.get("path"))
        match request.tool.partition("/")[2]:
            case "write_file":
                self.files[path] = str(arguments["content"])
                return Outcome(f"wrote {path}")
            case "shout":
                return Outcome(str(arguments["message"]).upper())
            case _ if path not in self.files:
                return Outcome(None, f"path: there is no {path}")
            case "stat":
                return Outcome({"size": len(self.files[path]), "owner": "ada"})
            case _:
                return Outcome({"content": self.files[path]})

    async def model(self, request: object) -> Outcome:
        return Outcome(None, "no model")

    def repeatable(self, tool: str) -> bool:
        return False


def changed(step: int, plan: Mapping[str, Any] = COPIED, **changes: Any) -> str:
    """The plan with another step in the place of one; an argument that is None is left out."""
    steps = [dict(one) for one in plan["steps"]]
    arguments = {**steps[step]["arguments"], **changes.pop("arguments", {})}
    kept = {name: value for name, value in arguments.items() if value is not None}
    steps[step] |= {**changes, "arguments": kept}
    return json.dumps({**plan, "steps": steps})
