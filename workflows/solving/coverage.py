"""What a request names and a workflow does nothing with."""

import json

from workflows.graph import Literal, Workflow, calls
from workflows.grounding import Request


def unused(workflow: Workflow, request: Request) -> list[object]:
    """Values that the request names by quotes, signs, digits or a colon, and that no call takes, neither as they are nor
    within a longer text."""
    arguments = [
        argument for node in workflow.nodes for _, call in calls(node) for argument in call.arguments.values()
    ]
    held = json.dumps(
        [one.value for one in arguments if isinstance(one, Literal)], ensure_ascii=False
    ).lower()
    return [value for value in request.marked if str(value).lower() not in held]
