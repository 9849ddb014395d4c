"""The demo's model, with a few more things to say and one habit of real models: it writes some numbers as text."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evolve.demo.world import model as demo

BASKET = re.compile(r"what is in basket (?P<basket>\w+)", re.IGNORECASE)
VOUCHER = re.compile(r"which voucher goes with (?P<item>[\w-]+)", re.IGNORECASE)
AGAIN = re.compile(r"say that again", re.IGNORECASE)
LETTER = re.compile(r"write to customer (?P<customer>\d+) that the (?P<item>[\w-]+)", re.IGNORECASE)
SIGN = re.compile(r"sign every letter with (?P<name>[\w ]+)\.")
NOTES = "To be remembered:"


def answer(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """What the demo's model does not know how to answer; None for all else."""
    history, question, since = demo.split_turn(messages)
    if any(message["role"] == "tool" for message in since):
        return None
    if BASKET.search(question):
        notes = [line[2:] for text in instructions(messages, NOTES) for line in text.splitlines()[1:]]
        return f"Noted: {'; '.join(notes)}" if notes else "Nothing is noted."
    if found := VOUCHER.search(question):
        return f"The voucher for {found['item']} is VOUCHER-{number(found['item'])}."
    if AGAIN.search(question):
        said = [demo.text_of(m) for m in history if m["role"] == "assistant" and m.get("content")]
        return f"I said: {said[-1]}" if said else "I said nothing yet."
    if found := LETTER.search(question):
        signs = [m["name"] for text in instructions(messages, "") for m in SIGN.finditer(text)]
        letter = f"Dear customer {found['customer']}, the {found['item']} is ready."
        return f"{letter} Yours, {signs[-1]}" if signs else letter
    return None


def instructions(messages: Sequence[Mapping[str, Any]], start: str) -> list[str]:
    texts = [demo.text_of(message) for message in messages if message["role"] == "system"]
    return [text for text in texts if text.startswith(start)]


def number(item: str) -> int:
    return 100_000 + int.from_bytes(hashlib.sha256(item.encode()).digest()[:4], "big") % 900_000


def completion(request: Mapping[str, Any]) -> dict[str, Any]:
    whole = demo.completion(request)
    message = whole["choices"][0]["message"]
    text = answer(request["messages"])
    if text is not None:
        message["content"] = text
    for call in message.get("tool_calls", []):
        call["function"]["arguments"] = loosely_typed(call["function"]["arguments"])
    return whole


def loosely_typed(arguments: str) -> str:
    """For half of the items numbers are written as text."""
    values = json.loads(arguments)
    if number(str(values.get("item"))) % 2:
        return arguments
    return json.dumps({name: str(v) if isinstance(v, int) else v for name, v in values.items()})


class Handler(demo.Handler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._send(200, "application/json", json.dumps(completion(request)).encode())


def main() -> None:
    server = demo.Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
