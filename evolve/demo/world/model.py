"""The demo's model: a small deterministic program behind the OpenAI chat-completions wire format.

It reads the last question, asks for the tools that it needs (several at once where several items are named), and puts
its answer together from the tool messages that it was given, by call id. It believes what it is given.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STOCK = re.compile(r"how many (?P<items>.+?) are in stock", re.IGNORECASE)
PRICE = re.compile(r"what does (?P<item>[\w-]+) cost", re.IGNORECASE)
ORDER = re.compile(r"order (?P<quantity>\d+) (?P<item>[\w-]+)", re.IGNORECASE)
ASKED = re.compile(r"what did i ask", re.IGNORECASE)
CURRENCY = re.compile(r"currency\b[^\n]*?\b(?P<code>[A-Z]{3})\b")

Message = Mapping[str, Any]


def text_of(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def split_turn(messages: Sequence[Message]) -> tuple[Sequence[Message], str, Sequence[Message]]:
    """History, the question, and what has happened since the question."""
    last = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=-1)
    question = text_of(messages[last]) if last >= 0 else ""
    return messages[: max(last, 0)], question, messages[last + 1 :]


def wanted_calls(question: str, messages: Sequence[Message]) -> list[tuple[str, dict[str, object]]]:
    """The tool calls that a question needs: (tool, arguments)."""
    if found := STOCK.search(question):
        items = [item for item in re.split(r",\s*|\s+and\s+", found["items"]) if item]
        return [("stock", {"item": item}) for item in items]
    if found := PRICE.search(question):
        return [("price", {"item": found["item"], "currency": currency_of(messages)})]
    if found := ORDER.search(question):
        return [("order", {"item": found["item"], "quantity": int(found["quantity"])})]
    return []


def currency_of(messages: Sequence[Message]) -> str:
    """The currency that a system message names, else USD."""
    codes = [
        found["code"] for m in messages if m["role"] == "system" for found in CURRENCY.finditer(text_of(m))
    ]
    return codes[-1].upper() if codes else "USD"


def compose(since: Sequence[Message]) -> str:
    """The answer, from the tool messages: each result is read under the id of the call that asked for it."""
    asked = {c["id"]: c["function"] for m in since for c in m.get("tool_calls") or []}
    given = {m.get("tool_call_id"): text_of(m) for m in since if m["role"] == "tool"}
    return "; ".join(_sentence(function, given.get(call, "no result")) for call, function in asked.items())


def _sentence(function: Mapping[str, str], text: str) -> str:
    arguments = json.loads(function["arguments"])
    try:
        result = json.loads(text)
    except ValueError:
        result = None
    item, name = arguments.get("item"), function["name"].rpartition("__")[2].rpartition(".")[2]
    if not isinstance(result, dict) or "error" in result:
        return f"{item}: refused ({text[:160]})"
    if name == "stock" and "count" in result:
        return f"{item}: {result['count']} in stock"
    if name == "price" and "cents" in result:
        return f"{item}: {result['cents'] / 100:.2f} {result['currency']}"
    if name == "order" and "order" in result:
        return f"{item}: ordered {result['quantity']} as {result['order']}"
    return f"{item}: {text[:160]}"


def reply(request: Mapping[str, Any]) -> dict[str, Any]:
    """The assistant message for a chat-completions request."""
    messages = request["messages"]
    history, question, since = split_turn(messages)
    if any(message["role"] == "tool" for message in since):
        return {"role": "assistant", "content": compose(since)}
    names = {
        tool["function"]["name"].rpartition("__")[2]: tool["function"]["name"]
        for tool in request.get("tools", [])
    }
    calls = [(names[tool], args) for tool, args in wanted_calls(question, messages) if tool in names]
    if calls:
        seed = hashlib.sha256(question.encode()).hexdigest()[:8]
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": f"call_{seed}_{i}",
                    "type": "function",
                    "function": {"name": n, "arguments": json.dumps(a)},
                }
                for i, (n, a) in enumerate(calls)
            ],
        }
    if ASKED.search(question):
        asked = [text_of(message) for message in history if message["role"] == "user"]
        return {
            "role": "assistant",
            "content": f"You asked: {asked[-1]}" if asked else "You asked nothing yet.",
        }
    return {"role": "assistant", "content": f"You said: {question}"}


def completion(request: Mapping[str, Any]) -> dict[str, Any]:
    """The whole answer."""
    message = reply(request)
    tokens = len(json.dumps(request)) // 4
    seed = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:24]
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": f"chatcmpl-{seed}",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": 20, "total_tokens": tokens + 20},
    }


def chunks(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same answer as a stream's frames."""
    whole = completion(request)
    choice = whole["choices"][0]
    message = dict(choice["message"])
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
    said = {"index": 0, "delta": message, "finish_reason": None}
    ended = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    base = {**whole, "object": "chat.completion.chunk"}
    del base["usage"]
    return [{**base, "choices": [said]}, {**base, "choices": [ended], "usage": whole["usage"]}]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # headers and body are two writes: the second would wait for an acknowledgement
    )
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/chat/completions"):
            self._send(404, "application/json", b'{"error": {"message": "no such route"}}')
        elif request.get("stream"):
            frames = "".join(f"data: {json.dumps(frame)}\n\n" for frame in chunks(request))
            self._send(200, "text/event-stream", f"{frames}data: [DONE]\n\n".encode())
        else:
            self._send(200, "application/json", json.dumps(completion(request)).encode())

    def handle_one_request(self) -> None:
        """What makes no sense is answered with 400, as any model server would."""
        try:
            super().handle_one_request()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._send(400, "application/json", json.dumps({"error": {"message": repr(error)}}).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser(description="A deterministic model server for the demo.")
    parser.add_argument("--port", type=int, default=0)
    server = Server(("127.0.0.1", parser.parse_args().port), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
