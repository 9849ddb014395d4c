"""A run that survives its process: every call is written down before it is made and when it has ended. Started again on
the same file, a run takes what has ended from there; a call whose end is not known is made again only where that does
no harm."""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workflows.callers import Wrapper
from workflows.calling import Caller, ModelRequest, Outcome, ToolRequest
from workflows.codec import digest
from workflows.graph import Workflow

UNKNOWN = "begun before the interruption, and its end is not known; it is not made again"


class JournalError(ValueError):
    """The file is no journal of this run, or another process writes it."""


class Journal(Wrapper):
    """A context manager; writes JSON lines, on disk before the call is made and before its outcome is used."""

    def __init__(self, inner: Caller, path: Path, workflow: Workflow, inputs: Mapping[str, object]) -> None:
        super().__init__(inner)
        self._path = path
        self._head = {"v": 1, "workflow": digest(workflow), "inputs": _digest(inputs)}
        self._begun: set[str] = set()
        self._ended: dict[str, Outcome] = {}
        self._file = -1

    def __enter__(self) -> Self:
        """Raises JournalError."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            os.close(self._file)
            raise JournalError(f"{self._path}: another process runs from this journal") from None
        except JournalError:
            os.close(self._file)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    async def tool(self, request: ToolRequest) -> Outcome:
        key = _key(request)
        if key in self._ended:
            return self._ended[key]
        if key in self._begun and not self.repeatable(request.tool):
            return Outcome(None, UNKNOWN, uncertain=True)
        self._write({"begun": key, "tool": request.tool}, sync=not self.repeatable(request.tool))
        return self._end(key, await super().tool(request))

    async def model(self, request: ModelRequest) -> Outcome:
        key = _key(request)
        return self._ended[key] if key in self._ended else self._end(key, await super().model(request))

    def _end(self, key: str, outcome: Outcome) -> Outcome:
        if not outcome.uncertain:
            self._write({"ended": key, "value": outcome.value, "error": outcome.error}, sync=True)
        return outcome

    def _write(self, entry: Mapping[str, object], *, sync: bool) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")
        if sync:
            os.fdatasync(self._file)

    def _read(self) -> None:
        """A last line that was not written whole did not happen."""
        data = os.pread(self._file, os.fstat(self._file).st_size, 0)
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._file, len(whole))
        try:
            entries = [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise JournalError(f"{self._path}: not a journal of a workflow's run") from None
        if not entries:
            self._write(self._head, sync=True)
            _sync_folder(self._path.parent)
        elif entries[0] != self._head:
            raise JournalError(f"{self._path}: the journal of another workflow, or of other inputs")
        for entry in entries[1:]:
            if "begun" in entry:
                self._begun.add(entry["begun"])
            else:
                self._ended[entry["ended"]] = Outcome(entry["value"], entry["error"])


def _key(request: ToolRequest | ModelRequest) -> str:
    return f"{request.node}/{request.place}/{request.attempt}"


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
