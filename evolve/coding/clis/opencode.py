"""OpenCode: OpenAI's chat wire format, one JSON object a line."""

import json

from evolve.coding.clis.adapter import (
    KEY,
    Adapter,
    Order,
    Said,
    Started,
    json_lines,
    micros,
    table,
    whole,
    words,
)


def build(order: Order) -> Started:
    resume = ("--session", order.session) if order.session else ()
    argv = (
        *(order.program, "run", "--format", "json", "--pure", "--auto", *resume),
        *("--model", f"gateway/{order.model}", order.prompt),
    )
    off = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    env = {
        "OPENCODE_CONFIG_CONTENT": json.dumps(_config(order)),
        **{f"OPENCODE_DISABLE_{name}": "1" for name in off},
        "npm_config_offline": "true",
    }
    return Started(argv, env)


def _config(order: Order) -> dict[str, object]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "gateway",
        "options": {"baseURL": f"{order.base}/v1", "apiKey": KEY},
        "models": {order.model: {"name": order.model}},
    }
    return {
        "provider": {"gateway": provider},
        "small_model": f"gateway/{order.model}",
        "permission": "allow",
        "autoupdate": False,
        "share": "disabled",
    }


def read(output: str) -> Said:
    session, text, tokens, cost, hint = "", "", 0, 0, False
    for event in json_lines(output):
        session = words(event.get("sessionID")) or session
        part = table(event.get("part"))
        if event.get("type") == "text":
            text = words(part.get("text"))
        elif event.get("type") == "step_finish":
            used = table(part.get("tokens"))
            tokens += sum(whole(used.get(name)) for name in ("input", "output", "reasoning"))
            cost += micros(part.get("cost"))
        hint = event.get("type") == "error"
    return Said(text, session, tokens, cost, "failed" if hint else None)


OPENCODE = Adapter(
    kind="opencode",
    program="opencode",
    registry="npm",
    package="opencode-ai",
    good=((1, 0), (2,)),
    build=build,
    read=read,
    leftovers=(".opencode",),
    resumes=True,
)
