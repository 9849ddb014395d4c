"""A planner that is a function, behind OpenAI chat completions on this machine.

Tokens are counted by one simple rule, the same for every arm: a token is four characters, rounded up, over all texts of the
request together, and over the answer. Nothing is counted for what stands around them.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[Sequence[dict[str, str]]], str]
CHARACTERS = 4


def tokens(*texts: str) -> int:
    return -(-sum(map(len, texts)) // CHARACTERS)


class PlannerServer(ThreadingHTTPServer):
    """`answer` may be exchanged while it runs."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def served(answer: Answer) -> Iterator[PlannerServer]:
    with PlannerServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlannerServer

    def log_message(self, *words: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        messages = body["messages"]
        try:
            text = self.server.answer(messages)
        except LookupError as unknown:
            return self._reply(400, {"error": {"message": f"no task with this request: {unknown}"}})
        usage = {
            "prompt_tokens": tokens(*(message["content"] for message in messages)),
            "completion_tokens": tokens(text),
        }
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return self._reply(200, {"object": "chat.completion", "choices": [choice], "usage": usage})

    def _reply(self, status: int, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
