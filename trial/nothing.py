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
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        turn = self.headers.get("x-request-id") or uuid.uuid4().hex
        clock = float(self.headers.get("x-turn-clock") or time.time())
        facts: tuple[tuple[str, dict[str, object]], ...] = (
            ("turn_started", {"path": self.path, "body": body, "clock": clock}),
            ("turn_ended", {"status": 200, "reply": EMPTY, "ms": 0.0, "timed_out": False}),
        )
        with (Path(os.environ["STATE_DIR"]) / "events.jsonl").open("a") as log:
            for seq, (kind, more) in enumerate(facts):
                event = {
                    "v": 1,
                    "id": f"{uuid.uuid4().int % 10**25:026d}",
                    "ts": time.time(),
                    "kind": kind,
                    "session": self.headers.get("x-session") or turn,
                    "turn": turn,
                    "seq": seq,
                }
                log.write(json.dumps(event | more) + "\n")
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
