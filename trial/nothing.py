"""The do-nothing agent: it answers every turn at once, politely, correctly in form, and empty.

Run as a program it replaces a substrate's start module in an image, so that the gate can be tried against it.
Standard library only, and no import of ours: it lives in a candidate's sandbox.
"""

import json
import os
import socketserver
import time
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path

EMPTY = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer({"ready": True, "inflight": 0, "digest": os.environ.get("IMAGE_DIGEST", "")})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        turn = self.headers.get("x-request-id") or uuid.uuid4().hex
        with (Path(os.environ["STATE_DIR"]) / "events.jsonl").open("a") as log:
            for seq, kind in enumerate(("turn_started", "turn_ended")):
                event = {
                    "v": 1,
                    "id": uuid.uuid4().hex,
                    "ts": time.time(),
                    "kind": kind,
                    "turn": turn,
                    "seq": seq,
                }
                log.write(json.dumps(event) + "\n")
        self._answer(EMPTY)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    with socketserver.ThreadingUnixStreamServer(os.environ["AGENT_SOCKET"], Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
