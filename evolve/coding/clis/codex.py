"""Codex: OpenAI's responses wire format, one JSON object a line."""

import json

from evolve.coding.clis.adapter import (
    HOME,
    KEY,
    Adapter,
    Order,
    Said,
    Started,
    json_lines,
    table,
    whole,
    words,
)

FOLDER = ".codex"


def build(order: Order) -> Started:
    resume = ("resume", order.session) if order.session else ()
    argv = (
        *(order.program, "exec", "--json", "--skip-git-repo-check", "--disable", "plugins"),
        *("--dangerously-bypass-approvals-and-sandbox", "--cd", order.repo, *resume, order.prompt),
    )
    env = {"CODEX_HOME": f"{HOME}/{FOLDER}", "GATEWAY_KEY": KEY}
    return Started(argv, env, {f"{FOLDER}/config.toml": _config(order)})


def _config(order: Order) -> str:
    return f"""model = {json.dumps(order.model)}
model_provider = "gateway"
web_search = "disabled"
check_for_update_on_startup = false

[model_providers.gateway]
name = "gateway"
base_url = "{order.base}/v1"
wire_api = "responses"
env_key = "GATEWAY_KEY"
request_max_retries = 4
stream_max_retries = 4

[analytics]
enabled = false

[feedback]
enabled = false

[otel]
exporter = "none"
"""


def read(output: str) -> Said:
    session, text, tokens, hint = "", "", 0, None
    for event in json_lines(output):
        kind = event.get("type")
        if kind == "thread.started":
            session = words(event.get("thread_id"))
        elif kind == "item.completed":
            item = table(event.get("item"))
            if item.get("type") == "agent_message":
                text = words(item.get("text"))
        elif kind == "turn.completed":
            usage = table(event.get("usage"))
            tokens = whole(usage.get("input_tokens")) + whole(usage.get("output_tokens"))
            hint = None
        elif kind == "turn.failed":
            text, hint = words(table(event.get("error")).get("message")) or text, "failed"
    return Said(text=text, session=session, tokens=tokens, hint="failed" if hint else None)


CODEX = Adapter(
    kind="codex",
    program="codex",
    registry="npm",
    package="@openai/codex",
    good=((0, 160), (0, 180)),
    build=build,
    read=read,
    leftovers=(FOLDER,),
    resumes=True,
)
