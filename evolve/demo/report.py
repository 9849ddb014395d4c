"""What the demo says at its end: one object for programs, one table for people."""

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Requests(Part):
    sent: int = 0
    failed_before: int = 0
    failed_after: int = 0
    """Of all failed ones sent again, and as many new ones."""
    lost: int = 0


class CandidatePart(Part):
    commit: str
    image: str
    files: list[str]
    lines: int


class BatchPart(Part):
    id: str
    cases: int
    visible: int
    held_out: int
    regression: int
    verdict: str
    trials: int
    candidate: CandidatePart | None


class SwapPart(Part):
    state: str
    held_ms: float


class DrillPart(Part):
    kind: str
    state: str
    lost: int


class LedgerPart(Part):
    entries: int = 0
    valid: bool = False


class DemoReport(Part):
    """Printed whole by `evolve demo --json`."""

    runtime: str
    requests: Requests = Requests()
    batches: list[BatchPart] = []
    swaps: list[SwapPart] = []
    drills: list[DrillPart] = []
    ledger: LedgerPart = LedgerPart()

    @property
    def went_well(self) -> bool:
        """Every batch converged and was committed, nothing was lost, both drills were rolled back, the ledger is whole."""
        return (
            bool(self.batches)
            and all(batch.verdict == "converged" for batch in self.batches)
            and all(swap.state == "committed" for swap in self.swaps)
            and all(drill.state == "rolled_back" and drill.lost == 0 for drill in self.drills)
            and len(self.swaps) == len(self.batches)
            and self.requests.failed_after == 0
            and self.requests.lost == 0
            and self.ledger.valid
        )


def print_report(report: DemoReport, failed: dict[str, tuple[int, int]]) -> None:
    """`failed`: per requirement, how many requests broke it before and after."""
    console = Console(stderr=True)
    table = Table(title="before and after", title_justify="left", box=None)
    for column in ("requirement", "failed before", "failed after"):
        table.add_column(column)
    for name, (before, after) in sorted(failed.items()):
        table.add_row(name, str(before), str(after))
    table.add_row("all", str(report.requests.failed_before), str(report.requests.failed_after))
    console.print(table)
    for batch in report.batches:
        change = (
            f"{batch.candidate.lines} lines in {', '.join(batch.candidate.files)}"
            if batch.candidate
            else "nothing"
        )
        console.print(
            f"batch {batch.id}: {batch.verdict} after {batch.trials} trials; changed {change}",
            highlight=False,
        )
    for swap in report.swaps:
        console.print(f"swap: {swap.state}, requests held for {swap.held_ms:.0f} ms", highlight=False)
    for drill in report.drills:
        console.print(f"drill {drill.kind}: {drill.state}, {drill.lost} requests lost", highlight=False)
    whole = "whole" if report.ledger.valid else "NOT WHOLE"
    console.print(f"requests: {report.requests.sent} sent, {report.requests.lost} lost", highlight=False)
    console.print(f"ledger: {report.ledger.entries} entries, {whole}", highlight=False)
