"""Runs at the start of every Python that the test command starts: records which lines run under which test.

Only where MEND_COVERAGE names a file to append to. Standard library only; the code under test shares the
process. Each first hit is written at once, so that a killed process loses nothing.
"""

import os
import sys
import threading
from types import FrameType
from typing import Any


def _start(target: str, root: str) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    prefix = root.rstrip("/") + "/"
    environ = os.environ
    seen: set[tuple[str, str, int]] = set()
    ours: dict[str, str] = {}

    def inside(name: str) -> str:
        known = ours.get(name)
        if known is None:
            path = os.path.realpath(name)
            skipped = not path.startswith(prefix) or "/.venv/" in path or "/site-packages/" in path
            known = ours[name] = "" if skipped else path[len(prefix) :]
        return known

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            test = environ.get("PYTEST_CURRENT_TEST", "")
            key = (test, frame.f_code.co_filename, frame.f_lineno)
            if key not in seen:
                seen.add(key)
                text = f"{test}\t{inside(frame.f_code.co_filename)}\t{frame.f_lineno}\n"
                os.write(descriptor, text.encode("utf-8", "replace"))
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line if inside(frame.f_code.co_filename) else None

    threading.settrace(call)
    sys.settrace(call)


if os.environ.get("MEND_COVERAGE"):
    _start(os.environ["MEND_COVERAGE"], os.environ["MEND_ROOT"])
