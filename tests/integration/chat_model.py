"""A model on this machine, behind chat completions, that answers what a function says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
Say = Callable[[list[Json]], Json]
"""The model's message, by the messages of the request."""


class ChatModel(ThreadingHTTPServer):
    """`say` may be exchanged while it runs."""

    def __init__(self, say: Say) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say = say

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ChatModel

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        message = self.server.say(
            json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"]
        )
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        data = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def chat_model(say: Say) -> Iterator[ChatModel]:
    with ChatModel(say) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def words(text: str) -> Json:
    return {"role": "assistant", "content": text}
