"""Points of a set, with the numbers that a test is about."""

from workflows.codec import to_json
from workflows.graph import OutputNode, Workflow
from workflows.points import Accuracy, Latency, Point

NOTHING = Workflow("w", "", (OutputNode(id="out", text="yes"),))


def point(accuracy: float, seconds: float, cost: int, name: str = "a") -> Point:
    return Point(
        configuration={"step": name},
        accuracy=Accuracy(accuracy, 0.0, 1.0, 9),
        latency_ms=Latency(p50=seconds * 500, p90=seconds * 1000),
        cost_micro_usd=cost,
        tokens=0.0,
        tool_calls=1.0,
        workflow=to_json(NOTHING),
    )
