"""A scripted step in the tools of whichever client asks: its names, its arguments, or its text form of an edit."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolve.coding.steps import Edit, Fault, Read, Run, Say, Step

REPO = "/work/repo"
SIDE_ANSWER = "Repair the service"
"""For titles and summaries, which clients ask for without tools."""
SHELLS = ("Bash", "bash", "exec_command", "shell_command", "shell", "run_shell_command", "exec")
READERS = ("Read", "read", "read_file")
EDITORS = ("Edit", "edit", "replace", "edit_file")
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""mini-swe-agent ends by this command, never by words."""


@dataclass(frozen=True)
class Asked:
    """`tools`: name -> JSON schema; None for one that takes plain text."""

    tools: dict[str, Any]
    results: int
    text: str

    @property
    def edits_in_text(self) -> bool:
        """aider has no tools: it reads edits from the answer."""
        return not self.tools and "SEARCH/REPLACE" in self.text


@dataclass(frozen=True)
class Tool:
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Custom:
    name: str
    text: str


@dataclass(frozen=True)
class Words:
    text: str


Act = Tool | Custom | Words


def translate(step: Step, asked: Asked, rest: Sequence[Step]) -> Act:
    """`rest`: this step and all that follow, for clients that take everything in one answer."""
    if asked.edits_in_text:
        return Words("\n".join(_in_text(each) for each in rest))
    if isinstance(step, Say):
        return _shell(SUBMIT, asked) if "COMPLETE_TASK_AND_SUBMIT" in asked.text else Words(step.text)
    if isinstance(step, Run):
        return _shell(step.command, asked)
    if isinstance(step, Read):
        name = _first(READERS, asked)
        path = f"{REPO}/{step.file}"
        if name is None:
            return _shell(f"cat {shlex.quote(path)}", asked)
        return _fill(name, asked, dict.fromkeys(("file_path", "filePath", "path", "absolute_path"), path))
    assert isinstance(step, Edit)
    name = _first(EDITORS, asked)
    path = f"{REPO}/{step.file}"
    if name is None:
        return _shell(_python_edit(path, step), asked)
    given = dict.fromkeys(("file_path", "filePath", "path"), path)
    given |= {"old_string": step.old, "new_string": step.new, "oldString": step.old, "newString": step.new}
    return _fill(name, asked, {**given, "instruction": "mend it"})


def _first(names: Sequence[str], asked: Asked) -> str | None:
    return next((name for name in names if name in asked.tools), None)


def _fill(name: str, asked: Asked, given: dict[str, Any]) -> Tool:
    """What the tool's schema knows of `given`, and something for all else that it requires."""
    schema = asked.tools[name] or {}
    known = schema.get("properties", {})
    empty = {"number": 0, "integer": 0, "boolean": False, "array": [], "object": {}}
    needed = {key: empty.get(str(known.get(key, {}).get("type")), "x") for key in schema.get("required", ())}
    return Tool(name, {**needed, **{key: value for key, value in given.items() if key in known}})


def _shell(command: str, asked: Asked) -> Act:
    name = _first(SHELLS, asked)
    if name is None:
        return Words(f"```bash\n{command}\n```")
    if asked.tools[name] is None:
        told = json.dumps({"cmd": command, "workdir": REPO})
        return Custom(name, f"const r = await tools.exec_command({told}); text(r.output);")
    listed = asked.tools[name].get("properties", {}).get("command", {}).get("type") == "array"
    words: Any = ["bash", "-lc", command] if listed else command
    return _fill(name, asked, {"command": words, "cmd": command, "description": "a step", "timeout": 100_000})


def _python_edit(path: str, step: Edit) -> str:
    return (
        f"python3 - <<'PYTHON'\npath = {path!r}\ntext = open(path).read()\nassert text.count({step.old!r}) == 1\n"
        f"open(path, 'w').write(text.replace({step.old!r}, {step.new!r}))\nprint('edited')\nPYTHON"
    )


def _in_text(step: Step) -> str:
    if isinstance(step, Edit):
        return (
            f"{step.file}\n```python\n<<<<<<< SEARCH\n{step.old}\n=======\n{step.new}\n>>>>>>> REPLACE\n```\n"
        )
    return step.text if isinstance(step, Say) else ""


__all__ = ["Act", "Asked", "Custom", "Fault", "Tool", "Words", "translate"]
