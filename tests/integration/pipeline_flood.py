"""Runs inside a coder's sandbox: spends as much as it is let. Standard library only.

`calls`: many large calls of its own model at a time, in every manner. `replays`: the worktree's service asks its model
without end, and `evolve-check` replays it; `both` does both at once.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

SECONDS = 20.0
MANNERS = ("whole", "stream", "cut", "silent", "error", "left")
LIMITS = (
    {"max_tokens": 400},
    {"max_tokens": 400, "n": 3},
    {"max_completion_tokens": 700},
    {},
    {"max_tokens": "many"},
    {"max_tokens": 10**9},
)
ASKS = """\
    from .turns import Gateway
    import os
    for number in range(1000):
        Gateway(os.environ["GATEWAY_SOCKET"]).ask("whole " + "x" * 4000 + str(number), "t")
"""


def call(number: int, until: float) -> None:
    base = os.environ["MODEL_BASE_URL"]
    while time.monotonic() < until:
        manner = MANNERS[number % len(MANNERS)]
        wire = "/v1/messages" if number % 2 else "/v1/chat/completions"
        limit = {"max_tokens": 500} if number % 2 else LIMITS[number // 2 % len(LIMITS)]
        words = {"role": "user", "content": f"{manner} " + "y" * (number * 997 % 9000)}
        body = {"model": "m", "messages": [words], "stream": manner in ("stream", "cut", "left"), **limit}
        request = urllib.request.Request(
            base + wire, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=1 if manner == "left" else 20) as answer:
                answer.read(10 if manner == "left" else -1)
        except (OSError, ValueError):
            time.sleep(0.02)
        number += 7


def replays(until: float) -> None:
    file = Path("service/turns.py")
    head = "def largest(text: str) -> str:\n"
    while time.monotonic() < until:
        with_mark = f"{head}    # {time.monotonic()}\n{ASKS}"
        text = file.read_text()
        file.write_text(text.replace(head, with_mark, 1))
        subprocess.run(["evolve-check"], capture_output=True, timeout=120, check=False)
        file.write_text(text)


def main(repo: str, what: str) -> None:
    os.chdir(repo)
    until = time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=call, args=(n, until), daemon=True)
        for n in range(16 if what != "replays" else 0)
    ]
    for thread in threads:
        thread.start()
    if what != "calls":
        replays(until)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
