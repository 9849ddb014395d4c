"""Did a turn meet the requirements? Judged from the reply that the user got and from the gateway's own record of calls."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evolve.demo.traffic import Answer
from evolve.demo.world.requirements import REQUIREMENTS, Requirement, reply_text


def calls_by_request(log: Path) -> dict[str, list[dict[str, Any]]]:
    """The gateway's record, by the turn that made the calls."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "catalog" not in record:
            found[record["request_id"]].append(record)
    return found


def failures(
    answers: Iterable[Answer], log: Path, requirements: Mapping[str, Requirement] = REQUIREMENTS
) -> dict[str, list[Answer]]:
    """Answers that break a requirement, by the requirement's name; lost ones under `lost`."""
    calls = calls_by_request(log)
    found: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.lost:
            found["lost"].append(answer)
            continue
        reply = _parsed(answer)
        for name, requirement in requirements.items():
            if requirement(answer.request.body, reply_text(reply), calls.get(answer.request_id, [])):
                found[name].append(answer)
                break
    return found


def _parsed(answer: Answer) -> object:
    if not answer.request.stream:
        return json.loads(answer.text)
    lines = (line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]
