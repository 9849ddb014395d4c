"""The mistakes of a weak planner, made on purpose in a plan that was right.

A mistake is drawn for each place where it can be made: prose and an invented step for the plan, a missing step, a wrong and
an invented tool for a step, three for each argument, a lost dependency for each reference, a wrong order for each `after`.
Every draw has its own random numbers, named by what is drawn where: another rate of one kind changes no other kind.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from workflows.plan import REFERENCE

Kind = Literal[
    "prose",
    "invented_step",
    "missing_step",
    "wrong_tool",
    "invented_tool",
    "missing_argument",
    "misnamed_argument",
    "mistyped_argument",
    "lost_dependency",
    "wrong_order",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Rates = Mapping[str, float]
Json = dict[str, Any]
MISNAMED = {
    "path": "file_path",
    "content": "text",
    "query": "sql",
    "repo_path": "repository",
    "message": "commit_message",
    "names": "nodes",
    "timezone": "zone",
    "files": "file_names",
}
"""What a model calls an argument that it does not remember; of others it remembers a half."""
GUESSES = ("output.txt", "result", "1", "the text", "data.txt")


@dataclass(frozen=True)
class Shown:
    """A tool as the prompt shows it."""

    key: str
    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


@dataclass(frozen=True)
class Draw:
    """Decides, by chance, whether a mistake is made. `spared` are places that are right this time."""

    rates: Rates
    seed: str
    spared: frozenset[str] = frozenset()

    def slips(self, kind: Kind, place: str) -> bool:
        spared = place.partition(".")[0] in self.spared
        return not spared and self.rng(kind, place).random() < self.rates[kind]

    def rng(self, kind: str, place: str) -> random.Random:
        return random.Random(f"{self.seed}:{kind}:{place}")


def with_slips(plan: Json, shown: Sequence[Shown], draw: Draw) -> Json:
    """The plan with its mistakes; prose is not made here."""
    gone = {step["id"] for step in plan["steps"] if draw.slips("missing_step", step["id"])}
    steps = [_step(step, gone, shown, draw) for step in plan["steps"] if step["id"] not in gone]
    steps = _order(steps, draw)
    if draw.slips("invented_step", "plan") and shown:
        steps.append(invented_step(shown, draw.rng("invented", "plan")))
    answer = REFERENCE.sub(lambda found: _answered(found, gone, draw), plan["answer"])
    return {"steps": steps, "answer": answer}


def one_step(step: Json, shown: Sequence[Shown], draw: Draw) -> Json:
    """The same for one step whose arguments are all known."""
    return _step(step, set(), shown, draw)


def invented_step(shown: Sequence[Shown], rng: random.Random) -> Json:
    tool = rng.choice(list(shown))
    return {
        "id": "extra",
        "tool": tool.key,
        "arguments": {name: rng.choice(GUESSES) for name in tool.required},
    }


def prose(plan: Json, rng: random.Random) -> str:
    tools = ", then ".join(str(step["tool"]).partition("/")[2].replace("_", " ") for step in plan["steps"])
    return (
        rng.choice(["Sure! To do this, you can ", "First, I would "])
        + f"{tools}. Let me know if you need more."
    )


def _step(step: Json, gone: set[str], shown: Sequence[Shown], draw: Draw) -> Json:
    arguments: Json = {}
    for name, value in step["arguments"].items():
        place = f"{step['id']}.{name}"
        if not draw.slips("missing_argument", place):
            called = _misnamed(name) if draw.slips("misnamed_argument", place) else name
            arguments[called] = _value(value, place, gone, draw)
    after = [name for name in step.get("after", []) if name not in gone]
    made = {
        "id": step["id"],
        "tool": step["tool"],
        "arguments": arguments,
        **({"after": after} if after else {}),
    }
    others = [tool for tool in shown if tool.key != step["tool"]]
    if others and draw.slips("wrong_tool", step["id"]):
        other = draw.rng("which tool", step["id"]).choice(others)
        return {**made, "tool": other.key, "arguments": _carried(arguments, other)}
    if draw.slips("invented_tool", step["id"]):
        return {**made, "tool": _invented_tool(step["tool"], draw.rng("which name", step["id"]))}
    return made


def _value(value: Any, place: str, gone: set[str], draw: Draw) -> Any:
    reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if reference and (reference[1].partition(".")[0] in gone or draw.slips("lost_dependency", place)):
        value = _lost(reference[1], draw.rng("how lost", place))
    return _mistyped(value) if draw.slips("mistyped_argument", place) else value


def _lost(reference: str, rng: random.Random) -> str:
    """A placeholder, a guess, or a path that leads nowhere."""
    source, _, path = reference.partition(".")
    form = rng.randrange(3)
    if form == 0:
        return f"<{path.rpartition('.')[2] or 'result'} of {source}>"
    return rng.choice(GUESSES) if form == 1 else f"{{{source}.output}}"


def _answered(found: re.Match[str], gone: set[str], draw: Draw) -> str:
    lost = found[1].partition(".")[0] in gone or draw.slips("lost_dependency", f"answer.{found[1]}")
    return f"[{found[1].partition('.')[2] or 'result'}]" if lost else found[0]


def _misnamed(name: str) -> str:
    if name in MISNAMED:
        return MISNAMED[name]
    return name.rpartition("_")[2] if "_" in name else f"{name}_value"


def _mistyped(value: Any) -> Any:
    """A list of it, a text of it, or it without its list."""
    if isinstance(value, list):
        return value[0] if value and isinstance(value[0], str) else str(value)
    return str(value) if isinstance(value, int | float) else [value]


def _carried(arguments: Json, other: Shown) -> Json:
    """What goes by the same name, and the rest, as it comes, for what else the other tool requires."""
    same = {name: value for name, value in arguments.items() if name in other.names}
    left = [value for name, value in arguments.items() if name not in same]
    lacking = [name for name in other.required if name not in same]
    return {**same, **dict(zip(lacking, left, strict=False))}


def _invented_tool(tool: str, rng: random.Random) -> str:
    server, _, name = tool.partition("/")
    words = re.split("[_-]", name)
    if len(words) == 1:
        return rng.choice([f"{server}/{name}_text", f"tools/{name}"])
    camel = words[0] + "".join(word.title() for word in words[1:])
    return rng.choice([f"{server}/{camel}", f"{server}/{words[0]}", f"tools/{name}"])


def _order(steps: list[Json], draw: Draw) -> list[Json]:
    """An `after` is forgotten, or stands in the other step."""
    made = {step["id"]: dict(step) for step in steps}
    for step in steps:
        for earlier in step.get("after", []):
            place = f"{step['id']}.{earlier}"
            if not draw.slips("wrong_order", place):
                continue
            made[step["id"]]["after"] = [name for name in made[step["id"]]["after"] if name != earlier]
            if draw.rng("which order", place).random() < 0.5:
                made[earlier]["after"] = [*made[earlier].get("after", []), step["id"]]
    return [{key: value for key, value in step.items() if key != "after" or value} for step in made.values()]
