"""Line coverage of the tree, for blame on the baseline; never in a scored trial (it costs some 11×)."""

from __future__ import annotations

import json
import signal
import sys
import threading

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn


class Tracer:
    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") + "/"
        self._lines: dict[str, set[int]] = {}

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(self._root):
            return None
        lines = self._lines.setdefault(name, set())
        lines.add(frame.f_lineno)

        def line(inner: FrameType, kind: str, value: Any) -> Any:
            lines.add(inner.f_lineno)
            return line

        return line

    def forget(self, path: str) -> None:
        """Start anew: what ran until now (boot, earlier turns) is not asked about. `path` appears when it is done."""
        for lines in self._lines.values():
            lines.clear()  # in place: running frames hold these sets
        open(path, "w").close()

    def write(self, path: str) -> None:
        sys.settrace(None)
        threading.settrace(None)
        cut = len(self._root)
        with open(path, "w", encoding="utf-8") as out:
            json.dump({name[cut:]: sorted(lines) for name, lines in sorted(self._lines.items())}, out)


def start(root: str, marker: str) -> Tracer:
    """Trace from here on. SIGUSR2 makes the tracer forget, and say so by making the file `marker`."""
    tracer = Tracer(root)

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGUSR2, lambda number, frame: tracer.forget(marker))
    signal.signal(signal.SIGTERM, stop)  # so that a service without a handler still ends in order
    threading.settrace(tracer.call)
    sys.settrace(tracer.call)
    return tracer
