"""Turns of many sessions through swaps and rollbacks, on both edges: none lost or doubled, each sees the ones before it."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from promote_figures import added_waits, shut_gates, spread, without_a_writer
from promote_rig import ROOT, Images, Rig, rig_in
from promote_services import Tiny
from promote_traffic import Traffic

from evidence.ledger import Ledger
from promote.settings import EdgeKind

SOAK_FOLDER = ROOT / ".soak"
SWAPS = (
    ("good", "committed"),
    ("back", "rolled_back"),
    ("late_death", "rolled_back"),
    ("refuses", "rolled_back"),
)
"""A commit, a person's rollback of it, one after users' turns, and one before any; then from the beginning."""
PATIENT = {"boot_seconds": 30.0, "turn_seconds": 15.0, "probe_window": 120.0, "drain_seconds": 20.0}
"""Nothing here ends by a limit, so a busy machine may take its time."""


@dataclass
class Outcome:
    problems: list[str] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)


def run(rig: Rig, folder: Path, requests: int, swaps: int, clients: int, sessions: int) -> Outcome:
    """So many turns, spread evenly over so many swaps, by `clients` that have `sessions` each."""
    ends: list[str] = []
    starts: list[float] = []
    with Traffic(rig, clients, pause=0.02, sessions=sessions, remembers=True) as traffic:
        for number in range(swaps):
            kind, end = SWAPS[number % len(SWAPS)]
            swap = rig.client.rollback("otto", "as it was") if kind == "back" else rig.promote(kind)
            record = rig.finish(swap, 300.0)
            assert record.state == end, record.reason
            ends.append(record.state)
            starts.append(start_alone(folder / f"alone-{number}"))
            traffic.reach(requests * (number + 1) // swaps, 600.0)
    with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
        entries = list(ledger.entries())
    added, waited = added_waits(traffic.sent, shut_gates(entries))
    state = Path(str(rig.client.status()["state_dir"]))
    problems = traffic.lost_or_doubled()
    problems += [f"{item.request_id}: {item.status}" for item in traffic.sent if item.status != 200]
    figures: dict[str, object] = {
        "edge": rig.edge_kind,
        "requests": len(traffic.sent),
        "sessions": len({item.session for item in traffic.sent}),
        "swaps": len(ends),
        "rollbacks": ends.count("rolled_back"),
        "problems": len(problems),
        "streams_read_on": sum(item.cuts for item in traffic.sent),
        "turn_ms": spread([1000 * item.seconds for item in traffic.sent]),
        "added_ms": spread(added),
        "added_ms_at_a_shut_gate": spread(waited),
        "no_writer_ms": spread(without_a_writer(entries)),
        "service_start_ms": spread(starts),
        "state_mib": sum(path.stat().st_size for path in state.iterdir()) >> 20,
    }
    return Outcome(problems, figures)


def start_alone(folder: Path) -> float:
    """Milliseconds until the same service answers when it is started as a bare process, beside everything else."""
    folder.mkdir()
    began = time.monotonic()
    service = Tiny(folder, 1)
    took = 1000 * (time.monotonic() - began)
    service.end()
    return took


def campaign(folder: Path, edge_kind: EdgeKind, **size: int) -> Outcome:
    images = Images(folder / "images")
    with rig_in(folder / "rig", images, edge_kind=edge_kind, timing=PATIENT, file_mib=8192) as rig:
        rig.install()
        outcome = run(rig, folder, **size)
    print(json.dumps(outcome.figures, indent=1))
    return outcome


def test_two_thousand_turns_of_a_hundred_sessions_through_ten_swaps(
    tmp_path: Path, edge_kind: EdgeKind
) -> None:
    outcome = campaign(tmp_path, edge_kind, requests=2000, swaps=10, clients=8, sessions=13)
    assert outcome.problems == []
    told = outcome.figures
    assert (told["sessions"], told["swaps"], told["rollbacks"]) == (104, 10, 7)


@pytest.mark.soak
def test_a_hundred_thousand_turns_of_a_thousand_sessions_through_two_hundred_swaps(
    tmp_path: Path, edge_kind: EdgeKind
) -> None:
    """`SOAK_REQUESTS` makes it smaller; a swap for every 500."""
    requests = int(os.environ.get("SOAK_REQUESTS", "100000"))
    swaps = max(4, requests // 500)
    outcome = campaign(tmp_path, edge_kind, requests=requests, swaps=swaps, clients=16, sessions=63)
    SOAK_FOLDER.mkdir(exist_ok=True)
    (SOAK_FOLDER / f"traffic-{edge_kind}.json").write_text(json.dumps(outcome.figures, indent=1) + "\n")
    assert outcome.problems == []
    assert outcome.figures["rollbacks"] == swaps - (swaps + 3) // 4
