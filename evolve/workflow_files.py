"""Workflows, inputs and recordings as an operator's files."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evolve.errors import BadInput, NotFound
from workflows.codec import GraphError, from_json
from workflows.graph import Workflow
from workflows.plan import PlanError, from_plan

MOST_BYTES = 4 << 20


def read_workflow(path: Path) -> Workflow:
    """A workflow's JSON, or a plan's. Raises NotFound, BadInput."""
    data = read_json(path)
    try:
        return from_plan(data, _name(path)) if isinstance(data, dict) and "steps" in data else from_json(data)
    except (GraphError, PlanError) as error:
        raise BadInput(f"{path}: {error}", hint="docs/workflows.md describes the form") from None


def read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path}: larger than {MOST_BYTES} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON: {error}") from None


def read_inputs(workflow: Workflow, words: Sequence[str]) -> dict[str, object]:
    """`name=value`; a value is JSON where the input is no text. Raises BadInput for what is missing, unknown or no value."""
    inputs: dict[str, object] = {}
    for word in words:
        name, given, text = word.partition("=")
        if not given or name not in workflow.inputs:
            known = ", ".join(sorted(workflow.inputs)) or "none"
            raise BadInput(f"--input {word!r}: expected NAME=VALUE of an input of {workflow.name}: {known}")
        inputs[name] = text if workflow.inputs[name].get("type") == "string" else _value(name, text)
    missing = sorted(workflow.inputs.keys() - inputs.keys())
    if missing:
        raise BadInput(
            f"{workflow.name}: no value for {', '.join(missing)}", hint="give --input NAME=VALUE for each"
        )
    return inputs


def read_cassette(path: Path) -> list[dict[str, Any]]:
    """JSON lines. Raises NotFound, BadInput."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: no recording: {error}") from None
    if not all(isinstance(line, dict) and {"tool", "arguments"} <= line.keys() for line in lines):
        raise BadInput(f"{path}: no recording: every line is an object with tool and arguments")
    return lines


def write_cassette(path: Path, lines: Iterable[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def _value(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise BadInput(f"--input {name}: {text!r} is no JSON") from None


def _name(path: Path) -> str:
    letters = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in path.stem.lower())
    return ("w_" + letters if not letters[:1].isalpha() else letters)[:60]
