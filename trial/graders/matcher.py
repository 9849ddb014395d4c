"""Regular expressions, JSON paths and JSON Schemas with a time limit that holds.

See `matcher_worker`: a warm process of its own answers, and dies of its timer rather than hang its caller.
"""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from trial.graders.base import GraderBroken

SECONDS = 2.0
_WORKER = Path(__file__).with_name("matcher_worker.py")


class Matcher:
    """Thread-safe. Every question that can't be answered raises GraderBroken."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None

    def regex(self, pattern: str, text: str, *, full: bool = False) -> bool:
        return bool(self._ask({"op": "regex", "pattern": pattern, "value": text, "full": full}))

    def path(self, path: str, value: object) -> list[Any]:
        """Everything that the JSON path selects. Text is itself, not a document."""
        found: list[Any] = self._ask({"op": "path", "path": path, "value": value})
        return found

    def schema(self, schema: object, value: object) -> str | None:
        """Why the value does not fit, or None."""
        wrong = self._ask({"op": "schema", "schema": schema, "value": value})
        return None if wrong is None else str(wrong)

    def close(self) -> None:
        with self._lock:
            self._end()

    def __enter__(self) -> "Matcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, question: dict[str, object]) -> Any:
        data = json.dumps(question | {"seconds": self._seconds}).encode() + b"\n"
        with self._lock:
            line = self._exchange(data)
        if not line.endswith(b"\n"):
            raise GraderBroken(f"{question['op']} took longer than {self._seconds:g} s, or too much memory")
        reply = json.loads(line)
        if "error" in reply:
            raise GraderBroken(f"{question['op']}: {reply['error']}")
        return reply["ok"]

    def _exchange(self, data: bytes) -> bytes:
        worker = self._worker or self._start()
        if worker.stdin is None or worker.stdout is None:
            raise GraderBroken("the matcher has no pipes")
        line = b""
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.write(data)
            worker.stdin.flush()
            line = worker.stdout.readline()
        if not line.endswith(b"\n"):
            self._end()
        return line

    def _start(self) -> "subprocess.Popen[bytes]":
        self._worker = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        with contextlib.suppress(BrokenPipeError):
            if worker.stdin is not None:
                worker.stdin.close()
        if worker.stdout is not None:
            worker.stdout.close()
        worker.kill()
        worker.wait()
