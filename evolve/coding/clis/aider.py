"""aider: OpenAI's chat wire format without tools; edits stand in the answer's text, and its output is for people."""

import re

from evolve.coding.clis.adapter import KEY, MAX_TEXT, Adapter, Order, Said, Started

PRICES = ".aider/caches/model_prices_and_context_window.json"
"""Looked up online when it is not there, or empty."""
_BEGINS = re.compile(r"^Added .* to the chat.*$", re.MULTILINE)
_DENIED = re.compile(r"^Skipping edits? to ", re.MULTILINE)


def build(order: Order) -> Started:
    argv = (
        *(order.program, "--model", f"openai/{order.model}", "--message", order.prompt, "--yes-always"),
        *("--edit-format", "diff", "--map-tokens", "0", "--read", order.task_file),
        *("--no-auto-commits", "--no-dirty-commits", "--no-gitignore", "--no-suggest-shell-commands"),
        *("--no-check-update", "--no-show-model-warnings", "--no-show-release-notes", "--no-detect-urls"),
        *("--analytics-disable", "--no-pretty", "--no-stream", "--no-fancy-input"),
        *(part for file in order.likely for part in ("--file", file)),
    )
    env = {
        "OPENAI_API_BASE": f"{order.base}/v1",
        "OPENAI_API_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "NO_COLOR": "1",
    }
    return Started(argv, env, {PRICES: '{"none": {"max_tokens": 0}}'})


def read(output: str) -> Said:
    said = re.split(_BEGINS, output)[-1]
    text = "\n".join(
        line.rstrip() for line in said.splitlines() if line.strip() and not line.startswith("Tokens:")
    )
    return Said(text=text[-MAX_TEXT:], hint="denied_edit" if _DENIED.search(output) else None)


AIDER = Adapter(
    kind="aider",
    program="aider",
    registry="pip",
    package="aider-chat",
    good=((0, 86), (0, 90)),
    build=build,
    read=read,
    leftovers=(".aider*",),
)
