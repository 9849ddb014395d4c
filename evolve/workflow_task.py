"""A task for `evolve workflow search`, as an operator's file: what is asked for, what to begin with, and when it is done."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from evolve.errors import BadInput
from evolve.workflow_files import read_json
from workflows.codec import GraphError, from_json
from workflows.graph import NAME_PATTERN, TOOL_PATTERN, SchemaTable, Workflow
from workflows.learn import learn
from workflows.plan import PlanError, from_plan

Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ToolKey = Annotated[str, StringConstraints(pattern=TOOL_PATTERN)]
HINT = "docs/workflows.md describes the form"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class CallCheck(_Strict):
    tool: ToolKey
    arguments: Mapping[str, Any] = {}
    """At least these."""


class FileCheck(_Strict):
    """What has to be true of a file; exactly one."""

    equals: str | None = None
    contains: Annotated[list[Text], Field(min_length=1)] | None = None
    gone: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [value for value in (self.equals, self.contains, self.gone) if value is not None]
        if len(given) != 1 or self.gone is False:
            raise ValueError("give exactly one of 'equals', 'contains' and 'gone': true")
        return self


class Verify(_Strict):
    """When the task is done; each part counts alike."""

    answer: list[Text] = []
    """Texts that have to stand in the answer, and in the result of a call: what is guessed does not count."""
    calls: list[CallCheck] = []
    """Calls that have to be made, and to work."""
    files: Mapping[Text, FileCheck] = {}
    """By path, relative to the task's file."""
    command: Annotated[list[Text], Field(min_length=1)] | None = None
    """Run in the folder of the task's file, with the answer on standard input; it ends with 0 if all is well."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.answer or self.calls or self.files or self.command):
            raise ValueError("give 'answer', 'calls', 'files' or 'command': without one anything would do")
        return self


class Case(_Strict):
    inputs: Mapping[Name, Any] = {}
    verify: Verify


class Task(_Strict):
    """Either `verify`, and maybe `inputs`, or several `cases` with their own."""

    model_config = ConfigDict(title="workflow_task")

    request: Text
    """What is asked for, in words: values that it names may become arguments."""
    workflow: Mapping[str, Any] | None = None
    """A workflow or a plan to begin with."""
    inputs: Mapping[Name, Any] = {}
    verify: Verify | None = None
    cases: Annotated[list[Case], Field(min_length=1)] | None = None
    tools: list[ToolKey] = []
    """Tools that may be called again and again though nobody puts back what they do."""

    @model_validator(mode="after")
    def _one_or_many(self) -> Self:
        if (self.verify is None) == (self.cases is None):
            raise ValueError("give either 'verify' or 'cases'")
        if self.cases is not None and self.inputs:
            raise ValueError("with 'cases', each has its own 'inputs'")
        if len({frozenset(case.inputs) for case in self.all_cases}) > 1:
            raise ValueError("all cases need the same names of inputs")
        return self

    @property
    def all_cases(self) -> list[Case]:
        if self.cases is not None:
            return self.cases
        assert self.verify is not None
        return [Case(inputs=self.inputs, verify=self.verify)]

    @property
    def input_types(self) -> dict[str, SchemaTable]:
        """Learnt from the cases."""
        found: dict[str, SchemaTable] = {}
        for case in self.all_cases:
            for name, value in case.inputs.items():
                found[name] = learn(found.get(name), value)
        return found

    def begin_with(self) -> Workflow | None:
        """Raises BadInput."""
        if self.workflow is None:
            return None
        data = dict(self.workflow)
        try:
            found = from_plan(data, inputs=self.input_types) if "steps" in data else from_json(data)
        except (GraphError, PlanError) as error:
            raise BadInput(f"workflow: {error}", hint=HINT) from None
        missing = sorted(found.inputs.keys() - self.input_types.keys())
        if missing:
            raise BadInput(f"workflow: no value for its inputs {', '.join(missing)}: give them in 'inputs'")
        return found


def read_task(path: Path) -> Task:
    """Raises NotFound, BadInput."""
    data = read_json(path)
    try:
        task = Task.model_validate_json(json.dumps(data))
        task.begin_with()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = str(first["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
        raise BadInput(f"{path}: {place + ': ' if place else ''}{said}", hint=HINT) from None
    except BadInput as error:
        raise BadInput(f"{path}: {error.message}", hint=error.hint) from None
    return task


def json_schema() -> dict[str, Any]:
    """The published schema of a task."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "workflow_task.schema.json"}
    return {**Task.model_json_schema(), **head}


if __name__ == "__main__":
    import sys

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    (Path(sys.argv[1]) / "workflow_task.schema.json").write_text(text, encoding="utf-8")
