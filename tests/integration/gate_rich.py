"""The `rich` batch: model, tool, memory and stream turns among its regression cases, so that a cheat on those has evidence
against it."""

from gate_corpus import Gate
from pydantic import TypeAdapter
from trial_batch import sealed, turn

from evidence.cases import (
    Cassette,
    HeldOutCase,
    RecordedCall,
    RecordedTurn,
    RegressionCase,
    SealedBatch,
    Signal,
    VisibleCase,
)
from trial.graders import GraderConfig, GraderSet, load_graders

RICH = """
WANTED = {
    "largest": lambda case, text: str(max(int(word) for word in text.split())),
    "upper": lambda case, text: text.upper(),
    "add": lambda case, text: str(sum(int(word) for word in text.split())),
    "ask": lambda case, text: str(max(int(word) for word in text.split())),
    "tool": lambda case, text: "looked",
    "recall": lambda case, text: case["prelude"][0]["body"]["messages"][-1]["content"].partition(" ")[2],
}

def grade(case, replay):
    name, _, rest = case["request"]["body"]["messages"][-1]["content"].partition(" ")
    wanted = WANTED[name](case, rest)
    return {"score": replay["turn"]["text"] == wanted, "reason": f"wanted {wanted}"}
"""


HELLO: dict[str, object] = {
    "shop": {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}}}
}


def call(own: RecordedTurn, target: str, arguments: dict[str, object], text: str) -> RecordedCall:
    return RecordedCall(
        kind="tool",
        target=target,
        request_id=own.request_id,
        request={"name": target.partition("/")[2], "arguments": arguments},
        response={"result": {"content": [{"type": "text", "text": text}]}},
        start_order=0,
        end_order=1,
        latency=0.0,
    )


def rich_graders(gate: Gate) -> GraderSet:
    (gate.world.home / "rich.py").write_text(RICH)
    adapter: TypeAdapter[GraderConfig] = TypeAdapter(GraderConfig)
    table = {"kind": "python", "name": "rich", "file": "rich.py"}
    return load_graders([adapter.validate_python(table)], gate.world.home, gate.world.runtime)


def rich(loaded: GraderSet, gate: Gate) -> SealedBatch:
    def fields(
        text: str,
        *calls: RecordedCall,
        prelude: tuple[RecordedTurn, ...] = (),
        own: RecordedTurn | None = None,
        signals: tuple[Signal, ...] = (),
    ) -> dict[str, object]:
        asked = own or turn(text)
        draft = VisibleCase(
            id=asked.request_id,
            evidence_id="e",
            fingerprint="f",
            turn=asked,
            prelude=prelude,
            cassette=Cassette(calls=calls, catalog=HELLO if calls else {}),
            signals=signals,
        )
        return {**draft.model_dump(exclude={"split"}), "graders": loaded.refs_for(draft)}

    def failing(i: int) -> dict[str, object]:
        text = f"largest {i} {i + 7} {i + 3}"
        wrong = Signal(kind="rule", name="wrong", reason="a user said so")
        return fields(text, call(turn(text), "shop/largest", {"of": text[8:]}, str(i + 7)), signals=(wrong,))

    def look(i: int) -> dict[str, object]:
        text = f'tool shop/look {{"item": {i}}}'
        own = turn(text).model_copy(update={"session": f"shop{i}", "request_id": f"tool-{i}"})
        return fields(text, call(own, "shop/look", {"item": i}, "looked"), own=own)

    def recall(i: int) -> dict[str, object]:
        told = turn(f"remember word{i}").model_copy(update={"session": f"memory{i}"})
        own = turn("recall").model_copy(update={"session": f"memory{i}", "request_id": f"recall-{i}"})
        return fields("recall", prelude=(told,), own=own)

    def stream(i: int) -> dict[str, object]:
        own = turn(f"upper stream{i}")
        return fields("", own=own.model_copy(update={"body": {**own.body, "stream": True}}))

    worked = [fields(f"upper word{i}" if i % 2 else f"add {i} {i + 1}") for i in range(10)]
    worked += [fields(f"ask {i} {i + 1}") for i in range(6)]
    worked += [look(i) for i in range(8)] + [recall(i) for i in range(5)] + [stream(i) for i in range(6)]
    return sealed(loaded, gate.world.baseline).model_copy(
        update={
            "visible": tuple(VisibleCase.model_validate(failing(i)) for i in range(3)),
            "held_out": tuple(HeldOutCase.model_validate(failing(i)) for i in range(3, 11)),
            "regression": tuple(RegressionCase.model_validate(one) for one in worked),
        }
    )
