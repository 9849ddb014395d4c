"""Qwen Code: OpenAI's chat wire format, a JSON list of events at the end."""

import json
from dataclasses import replace

from evolve.coding.clis.adapter import (
    KEY,
    Adapter,
    Order,
    Said,
    Started,
    json_events,
    listing,
    table,
    whole,
    words,
)

FOLDER = ".qwen"


def build(order: Order) -> Started:
    task = order.task_file.rpartition("/")[0]
    argv = (
        *(order.program, "--auth-type", "openai", "--model", order.model, "--yolo"),
        *("--include-directories", task, "--output-format", "json", "--prompt", order.prompt),
    )
    env = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{order.base}/v1",
        "OPENAI_MODEL": order.model,
        "NO_BROWSER": "true",
        "NO_COLOR": "1",
    }
    return Started(argv, env, {f"{FOLDER}/settings.json": json.dumps(_settings(order), indent=1)})


def _settings(order: Order) -> dict[str, object]:
    return {
        "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "security": {"auth": {"selectedType": "openai"}},
        "model": {"maxSessionTurns": order.max_turns},
    }


def read(output: str) -> Said:
    session, said = "", Said()
    for event in json_events(output):
        session = words(event.get("session_id")) or session
        if event.get("type") != "result":
            continue
        usage = table(event.get("usage"))
        denied = bool(listing(event.get("permission_denials")))
        said = Said(
            text=words(event.get("result")) or words(table(event.get("error")).get("message")),
            tokens=whole(usage.get("input_tokens")) + whole(usage.get("output_tokens")),
            hint="denied_edit" if denied else "failed" if event.get("is_error") is True else None,
        )
    return replace(said, session=session)


QWEN_CODE = Adapter(
    kind="qwen_code",
    program="qwen",
    registry="npm",
    package="@qwen-code/qwen-code",
    good=((0, 15), (0, 30)),
    build=build,
    read=read,
    leftovers=(FOLDER,),
)
