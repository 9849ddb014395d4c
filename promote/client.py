"""The promoter, asked by the CLI and the page. Synchronous; one socket call each."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promote.approval import SignedApproval
from promote.records import SwapRecord
from promote.wire import call


@dataclass(frozen=True)
class PromoterClient:
    """Raises wire.Unreachable when no promoter answers and wire.Refused with its reason when it will not."""

    socket: Path

    def submit(self, signed: SignedApproval, bundle: Path) -> str:
        """Hand in an approval with its bundle; returns the swap's id once it was ACCEPTED."""
        answer = call(
            self.socket, "submit", 60.0, approval=signed.model_dump(mode="json"), bundle=str(bundle.resolve())
        )
        return str(answer["swap"])

    def rollback(
        self, who: str, reason: str, swap: str | None = None, *, discard_writes: bool = False
    ) -> str:
        """Back to the previous good image, or out of the open swap. `swap`: the one that is meant, so that another is not
        rolled back by mistake; None for whichever it is. `discard_writes`: out of a quarantine, to the generation from
        before the swap, giving up what was written since."""
        told = {"who": who, "reason": reason, "swap": swap, "discard_writes": discard_writes}
        answer = call(self.socket, "rollback", 10.0, **told)
        return str(answer["swap"])

    def bootstrap(self, image: str, state: Path | None, who: str, reason: str) -> None:
        """Install the first image, with a copy of `state`. Refused when one is installed."""
        folder = str(state.resolve()) if state is not None else None
        call(self.socket, "bootstrap", 600.0, image=image, state=folder, who=who, reason=reason)

    def status(self) -> dict[str, object]:
        """`lkg`, `previous`, `open`, `entries`, `problem`, `pid`, `promoter_digest`, `state_dir`."""
        return call(self.socket, "status")

    def record(self, swap: str) -> SwapRecord | None:
        """How a swap ended, None while it is under way."""
        value = call(self.socket, "record", swap=swap)["record"]
        return None if value is None else SwapRecord.model_validate(value)

    def watch(self, after: int, wait: float = 10.0) -> list[dict[str, object]]:
        """Ledger rows after `after`, waiting up to `wait` seconds for the first."""
        rows = call(self.socket, "watch", wait + 10.0, after=after, wait=wait)["entries"]
        assert isinstance(rows, list)
        return rows

    def follow(self, swap: str, timeout: float) -> Iterator[dict[str, object]]:
        """Rows of one swap as they come, until it ended or the time is over."""
        end, after = time.monotonic() + timeout, 0
        while time.monotonic() < end:
            for row in self.watch(after, 1.0):
                after = int(str(row["seq"]))
                data = row["data"]
                if isinstance(data, dict) and data.get("swap") == swap:
                    yield row
                    if "record" in data:
                        return

    def wait(self, swap: str, timeout: float) -> SwapRecord | None:
        """The record, or None when the swap is still under way after `timeout` seconds."""
        end = time.monotonic() + timeout
        while (found := self.record(swap)) is None and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def shutdown(self, stop_agent: bool, who: str, reason: str) -> None:
        """End the promoter, and with it the agent if asked; refused while a swap is open."""
        call(self.socket, "shutdown", 120.0, stop_agent=stop_agent, who=who, reason=reason)
