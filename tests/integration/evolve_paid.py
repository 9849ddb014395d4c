"""A coder that pays for every answer: a small agent in the sandbox, its gateway, and a scripted model that counts its
calls.

What it does depends on its name and on its role alone, never on how often it was asked: a run that was killed must come to
the very end of one that was not.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evolve_world import CODER
from model_server import KEY, Script

from evolve.coding.steps import Run, Say, Step

AGENT = r"""
import json, os, subprocess, sys, urllib.request

repo, task, name = sys.argv[1:]
command = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
tools = [{"type": "function", "function": {"name": "bash", "parameters": command}}]
messages = [{"role": "user", "content": f"You are {name}.\n" + open(task).read()}]
while True:
    asked = urllib.request.Request(
        os.environ["MODEL_BASE_URL"] + "/v1/chat/completions",
        json.dumps({"model": "m-1", "messages": messages, "tools": tools}).encode(),
        {"content-type": "application/json", "authorization": "Bearer " + os.environ["MODEL_API_KEY"]},
    )
    with urllib.request.urlopen(asked) as answer:
        message = json.load(answer)["choices"][0]["message"]
    messages.append(message)
    if not message.get("tool_calls"):
        break
    for call in message["tool_calls"]:
        order = json.loads(call["function"]["arguments"])["command"]
        done = subprocess.run(["sh", "-c", order], cwd=repo, capture_output=True, text=True)
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": done.stdout + done.stderr})
"""
CALLS_A_SESSION = 2
TOKENS_A_CALL = 120
PLAN = {
    "cause": "add() looks at three words only",
    "files": ["service/turns.py"],
    "change": "look at all of them",
    "expected": "the sum of all numbers",
    "risks": "none",
}
APPROVAL = {
    "against": ["a longer request takes longer"],
    "mutation": {
        "file": "service/turns.py",
        "change": "text.split()[:4]",
        "slips": "no case has five numbers",
    },
    "approve": True,
    "required": [],
}


def _write(answer: object) -> tuple[Step, ...]:
    return Run(f"printf '%s' '{json.dumps(answer)}' > answer.json"), Say("Written.")


def _half(name: str) -> tuple[Step, ...]:
    program = CODER.replace("'", "'\\''")
    return Run(f"sh -c '{program}' coder /work/repo {name}"), Say("Mended.")


ROLES: dict[str, tuple[str, Sequence[Step]]] = {
    "plan": ("a plan, not a change", _write(PLAN)),
    "plan_review": ("a review of a plan", _write(APPROVAL)),
    "code_review": ("a review of a change", _write(APPROVAL)),
    "low": ("You are low.", _half("low")),
    "high": ("You are high.", _half("high")),
    "whole": (
        "You are whole.",
        (Run("sed -i 's/text.split()\\[:3\\]/text.split()/' service/turns.py"), Say("Mended.")),
    ),
}
"""By role: the words that stand in its requests, and what is answered."""


def script() -> Script:
    return Script(rules=list(ROLES.values()))


def stage_of(role: str) -> str:
    return role if role in ("plan", "plan_review", "code_review") else "implement"


def paid(requests: Sequence[tuple[str, dict[str, Any]]]) -> Counter[str]:
    """Calls that the model answered, by the stage that made them."""
    texts = (json.dumps(body, ensure_ascii=False) for _, body in requests)
    return Counter(
        next(stage_of(role) for role, (words, _) in ROLES.items() if words in text) for text in texts
    )


def configuration(url: str, folder: Path) -> str:
    """Three coders for evolve.toml: one mends all, two mend a half each."""
    key = folder / "paid.key"
    key.write_text(KEY)
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    common = (
        f"base_url = {json.dumps(url)}\nmodel = 'm-1'\napi_key_file = {json.dumps(str(key))}\n"
        "usd_micros_per_million_input = 1_000_000\nusd_micros_per_million_output = 1_000_000\n"
    )
    return "".join(
        f"\n[coders.paid_{name}]\nargv = ['{python}', '-c', '''{AGENT}''', '{{repo}}', '{{task}}', '{name}']\n{common}"
        for name in ("whole", "low", "high")
    )
