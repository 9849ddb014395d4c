"""What the model really answered, from the gateway's log: the only witness of why a coder got nowhere.

CLIs retry without end, exit with 0 after a wrong key, and call a broken stream a success. What their gateway wrote down
says which it was.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evolve.coding.protocol import CodingOutcome
from trial.gateway import wire

GIVE_UP_SECONDS = 5.0
"""After an answer that no retry can change."""
_HOPELESS = ("not_signed_in", "out_of_budget")
_OVERFLOW = re.compile(
    r"context.?length|context.?window|prompt is too long|maximum context|input token count|too many tokens"
    r"|maximum number of tokens",
    re.IGNORECASE,
)
_REFUSALS = {"refusal", "content_filter", "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "RECITATION", "SPII"}
_STOPS = {"finish_reason", "finishReason", "stop_reason"}
_REFUSED = {"blockReason", "refusal"}
_ENDS = {"message_stop", "response.completed", "response.incomplete", "response.failed"}
_ANSWERS = {"choices", "output", "content", "candidates", "promptFeedback"}
_MAX_DEPTH = 12


@dataclass(frozen=True)
class Trouble:
    """An answer with which no coder can go on. `outcome` is what the call becomes if nothing better follows."""

    outcome: CodingOutcome
    reason: str

    @property
    def may_pass(self) -> bool:
        return self.outcome not in _HOPELESS


NONSENSE = Trouble("failed", "the model's answer broke off or made no sense")


def trouble_of(status: int, response: object) -> Trouble | None:
    """Of one recorded answer, whole or streamed; None: there was nothing wrong with it."""
    frames = wire.frames_of(response)
    if frames is None:
        told = response if isinstance(response, dict) else {}
        if status >= 400 or told.get("error"):
            return _of_error(status, response)
        return _of_refusal([told]) if _ANSWERS & told.keys() else NONSENSE
    data = [frame.get("data") for frame in frames if isinstance(frame, dict)]
    for value in data:
        if isinstance(value, dict) and (
            value.get("error") or value.get("type") in ("error", "response.failed")
        ):
            return _of_error(status, value)
    if not any(_ends(value) for value in data):
        return NONSENSE
    return _of_refusal(data)


def _of_error(status: int, response: object) -> Trouble:
    text = json.dumps(response)[:2000]
    if _OVERFLOW.search(text):
        return Trouble("context_overflow", "the prompt does not fit the model's context")
    if status in (401, 403) or "authentication_error" in text or "UNAUTHENTICATED" in text:
        return Trouble("not_signed_in", f"the model's server answered {status}: is the key right?")
    if status == 402:
        return Trouble("out_of_budget", "the model's server or a cap of ours wants to be paid first")
    if status in (429, 529) or "overloaded_error" in text or "rate_limit" in text:
        return Trouble("rate_limited", f"the model's server limits the rate ({status})")
    return Trouble("failed", f"the model's server answered {status}")


def _ends(value: object) -> bool:
    """Whether this frame is the last that says something."""
    if value == "[DONE]":
        return True
    if not isinstance(value, dict):
        return False
    parts = [*_tables(value.get("choices")), *_tables(value.get("candidates"))]
    finished = any(part.get("finish_reason") or part.get("finishReason") for part in parts)
    return finished or value.get("type") in _ENDS or bool(value.get("promptFeedback"))


def _tables(value: object) -> list[dict[str, object]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _of_refusal(data: list[object]) -> Trouble | None:
    reasons = {word for value in data for word in _reasons(value, 0)}
    return Trouble("refused", "the model refused") if reasons else None


def _reasons(value: object, depth: int) -> Iterator[str]:
    """Every reason to stop in there that means a refusal."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for inner in value:
            yield from _reasons(inner, depth + 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(inner, str):
                yield from _reasons(inner, depth + 1)
            elif (name in _STOPS and inner in _REFUSALS) or (name in _REFUSED and inner):
                yield inner


class Answers:
    """Reads a log of calls as it grows."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = log.stat().st_size if log.exists() else 0
        self._since = 0.0
        self.last: Trouble | None = None
        """What is wrong with the newest answer; None: nothing, or there is none."""
        self.count = 0

    def look(self) -> None:
        for line in self._lines():
            try:
                call = json.loads(line)
            except ValueError:
                continue
            if (
                isinstance(call, dict)
                and call.get("kind") == "model"
                and not wire.is_free(str(call.get("target")))
            ):
                self._take(call)

    def _take(self, call: dict[str, object]) -> None:
        self.count += 1
        status = call.get("status")
        found = trouble_of(status if isinstance(status, int) else 0, call.get("response"))
        if found is not None and self.last is None:
            self._since = time.monotonic()
        self.last = found

    def hopeless(self, patience: float) -> Trouble | None:
        """What a coder has met for so long that it should be ended."""
        if self.last is None:
            return None
        wait = patience if self.last.may_pass else min(patience, GIVE_UP_SECONDS)
        return self.last if time.monotonic() - self._since > wait else None

    def _lines(self) -> Iterable[bytes]:
        """Whole lines that were not seen yet."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._read)
                data = stream.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._read += end
        return data[:end].splitlines()
