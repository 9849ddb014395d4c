"""Models on this machine, behind chat completions, told apart by their names: what each says, after how many seconds.
A token is four characters."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Priced(NamedTuple):
    say: Callable[[str], str]
    seconds: float = 0.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, models: Mapping[str, Priced]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = models


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *words: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model, prompt = self.server.models[body["model"]], body["messages"][-1]["content"]
        time.sleep(model.seconds)
        text = model.say(prompt)
        usage = {"prompt_tokens": -(-len(prompt) // 4), "completion_tokens": -(-len(text) // 4)}
        message = {"role": "assistant", "content": text}
        reply = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage}
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def priced_models(models: Mapping[str, Priced]) -> Iterator[str]:
    """Their address, with its version."""
    with _Server(models) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
