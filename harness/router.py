"""What a turn needs: a command of the service, a shipped workflow, or the model."""

from typing import NamedTuple

from harness.turn import TurnContext, TurnRequest
from workflows.graph import Workflow
from workflows.shipped import choose


class Command(NamedTuple):
    """Answered by the service itself."""

    text: str
    note: str | None = None
    """To be remembered."""


class RunWorkflow(NamedTuple):
    workflow: Workflow
    inputs: dict[str, object]


class Chat:
    """Answered by the model."""


Route = Command | RunWorkflow | Chat


def route(context: TurnContext, request: TurnRequest, workflows: tuple[Workflow, ...]) -> Route:
    """The first that fits: command, workflow, model."""
    text = request.text.strip()
    name, _, rest = text.partition(" ")
    if text in ("", "/settings"):
        return Command(_settings(context))
    if text == "/tools":
        return Command("Tools: " + (", ".join(spec.key for spec in context.catalog) or "none"))
    if name == "/remember" and rest.strip():
        return Command("Noted.", note=rest.strip())
    if text == "/recall":
        return Command("Notes: " + ("; ".join(context.notes) or "none"))
    found = choose(text, workflows, context.catalog)
    if found is not None:
        return RunWorkflow(*found)
    return Chat()


def _settings(context: TurnContext) -> str:
    if not context.settings:
        return "Nothing is set."
    return "Settings: " + ", ".join(f"{name}={value}" for name, value in sorted(context.settings.items()))
