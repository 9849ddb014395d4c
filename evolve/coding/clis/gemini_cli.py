"""Gemini CLI: Google's wire format, one JSON document at the end."""

import json

from evolve.coding.clis.adapter import (
    HOME,
    KEY,
    Adapter,
    Order,
    Said,
    Started,
    last_document,
    table,
    whole,
    words,
)

FOLDER = ".gemini"


def build(order: Order) -> Started:
    task = order.task_file.rpartition("/")[0]
    argv = (
        *(order.program, "--model", order.model, "--yolo", "--skip-trust", "--include-directories", task),
        *("--output-format", "json", "--prompt", order.prompt),
    )
    env = {
        "GEMINI_API_KEY": KEY,
        "GOOGLE_GEMINI_BASE_URL": order.base,
        "GEMINI_CLI_HOME": HOME,
        "NO_BROWSER": "true",
        "NO_COLOR": "1",
    }
    return Started(argv, env, {f"{FOLDER}/settings.json": json.dumps(_settings(order), indent=1)})


def _settings(order: Order) -> dict[str, object]:
    return {
        "general": {
            "enableAutoUpdate": False,
            "enableAutoUpdateNotification": False,
            "disableAutoUpdate": True,
        },
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "model": {"maxSessionTurns": order.max_turns},
    }


def read(output: str) -> Said:
    told = last_document(output)
    tokens = 0
    for model in table(table(told.get("stats")).get("models")).values():
        tokens += whole(table(table(model).get("tokens")).get("total"))
    decisions = table(table(table(told.get("stats")).get("tools")).get("totalDecisions"))
    denied = whole(decisions.get("reject")) > 0
    return Said(
        text=words(told.get("response")) or words(table(told.get("error")).get("message")),
        session=words(told.get("session_id")),
        tokens=tokens,
        hint="denied_edit" if denied else "failed" if told.get("error") else None,
    )


GEMINI_CLI = Adapter(
    kind="gemini_cli",
    program="gemini",
    registry="npm",
    package="@google/gemini-cli",
    good=((0, 60), (0, 70)),
    build=build,
    read=read,
    leftovers=(FOLDER,),
)
