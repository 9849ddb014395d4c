"""Logs as a service and its gateway write them, for tests."""

import json
from pathlib import Path
from typing import Any

from evidence.canonical import new_id
from evidence.redact import Redactor
from evidence.sources.cursor import Source
from evidence.store import Store, sqlite_url
from evolve.migrations import upgrade

REDACTOR = Redactor(b"k" * 32)


def open_store(folder: Path) -> Store:
    url = sqlite_url(folder / "evolve.db")
    upgrade(url)
    return Store(url, folder / "blobs")


class Log:
    """Writes both logs of one service; time advances by one second a line."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.events, self.calls = folder / "events.jsonl", folder / "calls.jsonl"
        self.now = 1_000_000.0
        self.order = 0

    @property
    def sources(self) -> list[Source]:
        return [Source("events", self.events), Source("gateway", self.calls)]

    def event(self, kind: str, session: str = "", turn: str = "", **fields: Any) -> dict[str, Any]:
        self.now += 1
        event = {
            "v": 1,
            "id": new_id(),
            "ts": self.now,
            "kind": kind,
            "session": session,
            "turn": turn,
            "seq": 0,
        }
        event |= fields
        self.write(self.events, event)
        return event

    @staticmethod
    def write(path: Path, line: object) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def start(self, digest: str = "sha256:" + "1" * 64) -> None:
        self.event("process_started", epoch="1", digest=digest, boot_nonce=new_id())

    def call(self, turn: str, target: str = "/v1/chat/completions", **fields: Any) -> None:
        self.order += 2
        line = {
            "kind": "model",
            "target": target,
            "request_id": turn,
            "request": {"of": turn},
            "response": {"ok": 1},
            "status": 200,
            "start_order": self.order,
            "end_order": self.order + 1,
            "latency": 0.25,
            "ts": self.now,
            "id": new_id(),
        }
        self.write(self.calls, line | fields)

    def turn(
        self,
        text: str = "hello",
        *,
        session: str | None = None,
        error: str = "",
        status: int = 200,
        user: str = "",
        tool: str = "",
        reply: object = None,
        end: bool = True,
    ) -> str:
        """One turn; with `error` it fails with that exception message."""
        turn, session = new_id(), session or new_id()
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        if user:
            body["user"] = user
        self.event("turn_started", session, turn, path="/v1/chat/completions", body=body, clock=self.now)
        self.call(turn)
        if tool:
            call = {"call_id": new_id(), "server": "shop", "tool": tool}
            self.event("tool_call", session, turn, **call, arguments={})
            self.event("tool_result", session, turn, **call, content="done", is_error=False, ms=1.0)
        if error:
            trace = f'File "/app/x.py", line {len(error)}, in go\nValueError: {error}'
            self.event(
                "error", session, turn, where="turn", type="ValueError", message=error, traceback=trace
            )
        if end:
            self.event(
                "turn_ended",
                session,
                turn,
                status=status,
                reply=reply or {"said": text},
                ms=10.0,
                timed_out=False,
            )
        return turn

    def feedback(self, turn: str, session: str = "", rating: str = "down", comment: str = "wrong") -> None:
        self.event("feedback", session, turn, target=turn, rating=rating, comment=comment)
