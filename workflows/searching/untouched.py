"""Runs that all begin in the same state share what they read before they change anything."""

from collections.abc import Callable

from workflows.callers import Memo, Wrapper
from workflows.calling import Caller, Outcome, ToolRequest


class Untouched(Wrapper):
    def __init__(self, inner: Caller, reads: Callable[[str], bool]) -> None:
        super().__init__(inner)
        self._reads, self._memo = reads, Memo(inner, reads, lasting=True)
        self.touched = False
        """Something may have been changed. Whoever puts the state back says so by setting it to False."""

    @property
    def saved(self) -> int:
        """Calls that were not made."""
        return self._memo.saved

    async def tool(self, request: ToolRequest) -> Outcome:
        if not self._reads(request.tool):
            self.touched = True
            self._memo.forget_running()  # they may see what this call changes
        return await (self._inner if self.touched else self._memo).tool(request)
