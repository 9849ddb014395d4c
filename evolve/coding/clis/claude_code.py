"""Claude Code: Anthropic's wire format, one JSON object a line."""

from dataclasses import replace

from evolve.coding.clis.adapter import (
    HOME,
    KEY,
    Adapter,
    Order,
    Said,
    Started,
    json_lines,
    listing,
    micros,
    table,
    whole,
    words,
)


def build(order: Order) -> Started:
    resume = ("--resume", order.session) if order.session else ()
    argv = (
        *(order.program, "--print", order.prompt, *resume),
        *("--output-format", "stream-json", "--verbose", "--max-turns", str(order.max_turns)),
        *("--dangerously-skip-permissions", "--strict-mcp-config", "--model", order.model),
    )
    env = {
        "ANTHROPIC_BASE_URL": order.base,
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_MODEL": order.model,
        "ANTHROPIC_SMALL_FAST_MODEL": order.model,
        "CLAUDE_CONFIG_DIR": f"{HOME}/.claude",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "4",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_BUG_COMMAND": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
        "IS_SANDBOX": "1",
    }
    return Started(argv, env)


def read(output: str) -> Said:
    session, said = "", Said()
    for event in json_lines(output):
        session = words(event.get("session_id")) or session
        if event.get("type") != "result":
            continue
        usage = table(event.get("usage"))
        kinds = (
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
            "output_tokens",
        )
        denied = bool(listing(event.get("permission_denials")))
        said = Said(
            text=words(event.get("result")),
            tokens=sum(whole(usage.get(kind)) for kind in kinds),
            usd_micros=micros(event.get("total_cost_usd")),
            hint="denied_edit" if denied else "failed" if event.get("is_error") is True else None,
        )
    return replace(said, session=session)


CLAUDE_CODE = Adapter(
    kind="claude_code",
    program="claude",
    registry="npm",
    package="@anthropic-ai/claude-code",
    good=((2, 1), (2, 2)),
    build=build,
    read=read,
    leftovers=(".claude", ".claude.json*"),
    resumes=True,
)
