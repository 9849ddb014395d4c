"""A plan from a model: the prompt, the question, and the reading of what comes back.

The prompt's first message is always the same, so that an endpoint may keep it; then come the few tools that the request is
about, and the request. What tools say of themselves is a stranger's text: each tool gets one line, cut short.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from workflows.catalog import Catalog, ToolSpec
from workflows.graph import Workflow
from workflows.model import ChatModel, ModelFailed
from workflows.plan import PLAN_SCHEMA, PlanError, from_plan
from workflows.signature import NAME, one_line, signature
from workflows.tool_search import relevance_by_clause

TOOLS = 12
MAX_TOKENS = 1024
LONGEST_ANSWER = 1 << 16
SHOWN_ANSWER, SHOWN_ERROR, MOST_ERRORS = 2000, 300, 8
FORM = """You plan tool calls. Answer with one JSON object and nothing else: {"steps": [...], "answer": "..."}.
"{s1.field}" as a whole argument, or in the answer, stands for that part of the result of s1.
Steps run at once. A step waits for those whose results it takes, and for those that it names in "after": ["s1"]."""
MOST_STEPS, MOST_AFTER, LONGEST_NAME, LONGEST_TEXT = 8, 4, 64, 400
TOOLS_HEAD, TOOL, EXAMPLE, REQUEST = "Tools:", "- ", "Example: ", "Request: "
FAILED = "That plan failed:"
AGAIN = "Answer with a better plan."


def _bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's schema with an end to everything: held to a form, small models repeat themselves until they are cut off."""
    found = copy.deepcopy(dict(schema))
    steps, name = found["properties"]["steps"], {"type": "string", "maxLength": LONGEST_NAME}
    steps["maxItems"] = MOST_STEPS
    after = {"type": "array", "items": name, "maxItems": MOST_AFTER}
    steps["items"]["properties"] |= {"id": name, "tool": name, "after": after}
    found["properties"]["answer"] = {"type": "string", "maxLength": LONGEST_TEXT}
    return found


SCHEMA: Mapping[str, Any] = _bounded(PLAN_SCHEMA)


class PlannerFailed(Exception):
    """No plan; the message says why in a line."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text
        """What the model said, if it said anything."""


class Planned(NamedTuple):
    text: str
    """As the model said it."""
    plan: Mapping[str, Any]
    workflow: Workflow
    """Not checked."""


class Failure(NamedTuple):
    """What became of the plan before."""

    text: str
    errors: Sequence[str]


@dataclass(frozen=True)
class Planner:
    model: ChatModel
    catalog: Catalog
    tools: int = TOOLS
    """How many are shown at most."""
    max_tokens: int = MAX_TOKENS

    async def plan(self, request: str, *, last: Failure | None = None, seed: int | None = None) -> Planned:
        """Raises PlannerFailed. What it cost is in the model's counters, also when it failed."""
        shown = shown_tools(self.catalog, request, self.tools)
        try:
            said = await self.model.complete(
                messages(request, shown, self.catalog, last),
                schema=SCHEMA,
                max_tokens=self.max_tokens,
                seed=seed,
            )
        except ModelFailed as error:
            raise PlannerFailed(str(error)) from None
        plan = read_object(said.text)
        try:
            return Planned(said.text, plan, from_plan(plan))
        except PlanError as error:
            raise PlannerFailed(f"the answer is no plan: {error}", said.text) from None


def shown_tools(catalog: Catalog, request: str, most: int = TOOLS) -> list[ToolSpec]:
    """What the request is about, the best first; where no word is shared, the first of the catalog."""
    fit = relevance_by_clause(catalog, request)
    best = sorted(fit, key=lambda key: (-fit[key], key))[:most]
    return [catalog.tools[key] for key in best] or list(catalog)[:most]


def messages(
    request: str, shown: Sequence[ToolSpec], catalog: Catalog, last: Failure | None = None
) -> list[dict[str, str]]:
    """Of a chat. With the plan that failed last, and with why."""
    tools = [TOOL + signature(spec, catalog.output(spec.key)) for spec in shown]
    asked = "\n".join([TOOLS_HEAD, *tools, *_example(shown), REQUEST + request])
    found = [{"role": "system", "content": FORM}, {"role": "user", "content": asked}]
    if last is not None:
        errors = [TOOL + one_line(error, SHOWN_ERROR) for error in last.errors[:MOST_ERRORS]]
        found.append({"role": "assistant", "content": last.text[:SHOWN_ANSWER]})
        found.append({"role": "user", "content": "\n".join([FAILED, *errors, AGAIN])})
    return found


def _example(shown: Sequence[ToolSpec]) -> list[str]:
    """With a tool that is shown: small models call the example's tools."""
    if not shown:
        return []
    arguments = {one_line(name, NAME): "…" for name in shown[0].required}
    step = {"id": "s1", "tool": one_line(shown[0].key, 2 * NAME), "arguments": arguments}
    return [EXAMPLE + json.dumps({"steps": [step], "answer": "{s1}"}, ensure_ascii=False)]


def read_object(text: str) -> dict[str, Any]:
    """The one JSON object in an answer, also if prose or a code fence stands around it. Raises PlannerFailed: there is
    none, or it can't be told which of several is meant."""
    if len(text) > LONGEST_ANSWER:
        raise PlannerFailed(f"the answer is longer than {LONGEST_ANSWER} characters", text)
    found = list(objects(text))
    if len(found) != 1:
        what = f"{len(found)} JSON objects" if found else "no JSON object"
        raise PlannerFailed(f"the answer has {what}; expected one, a plan", text)
    return found[0]


def objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text that stand in no other."""
    decoder, start = json.JSONDecoder(parse_constant=_refused), text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield value
        start = text.find("{", end)


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
