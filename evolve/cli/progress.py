"""Progress on stderr: one line that changes at a terminal, nothing that fills a log elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

from evolve.sanitize import one_line

QUIET_SECONDS = 15.0


class Progress:
    """At a terminal a spinner with the latest line; else a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = Status("", console=self._console) if self._console.is_terminal else None
        self._last = 0.0

    def line(self, text: str) -> None:
        """The latest news; may be called often."""
        if self._status is not None:
            self._status.update(Text(one_line(text)))
        elif time.monotonic() - self._last > QUIET_SECONDS:
            self._last = time.monotonic()
            print(one_line(text), file=sys.stderr)

    def keep(self, text: str) -> None:
        """News that stays on the screen."""
        self._console.print(Text(one_line(text)), soft_wrap=True)

    def __enter__(self) -> "Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
