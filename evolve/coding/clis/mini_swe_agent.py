"""mini-swe-agent: OpenAI's chat wire format with one tool, the shell; its output is for people."""

from evolve.coding.clis.adapter import HOME, KEY, MAX_TEXT, Adapter, Order, Said, Started


def build(order: Order) -> Started:
    settings = (
        "mini.yaml",
        f"model.model_kwargs.api_base={order.base}/v1",
        f"model.model_kwargs.api_key={KEY}",
        f"agent.step_limit={order.max_turns}",
    )
    argv = (
        *(order.program, "--model", f"openai/{order.model}", "--task", order.prompt),
        *("--yolo", "--exit-immediately", "--cost-limit", "0", "--output", f"{HOME}/trajectory.json"),
        *(part for setting in settings for part in ("--config", setting)),
    )
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MSWEA_CONFIGURED": "true",
        "MSWEA_COST_TRACKING": "ignore_errors",
        "MSWEA_GLOBAL_CONFIG_DIR": f"{HOME}/mini",
        "MSWEA_SILENT_STARTUP": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    return Started(argv, env)


def read(output: str) -> Said:
    step = output.rpartition("mini-swe-agent (step")[2]
    lines = [line.strip() for line in step.splitlines()[1:] if line.strip()]
    return Said(text="\n".join(lines[-40:])[-MAX_TEXT:])


MINI_SWE_AGENT = Adapter(
    kind="mini_swe_agent",
    program="mini",
    registry="pip",
    package="mini-swe-agent",
    good=((2, 0), (3,)),
    build=build,
    read=read,
)
