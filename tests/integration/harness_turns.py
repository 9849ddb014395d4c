"""Turns of the harness with another policy or workflow, what they say of themselves, and the same turn replayed."""

import json
import shutil
import sys
from pathlib import Path

from harness_gateway_double import Json
from harness_service import ROOT, Service, service

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "evidence"))
from evidence_logs import REDACTOR

from evidence import draft, flags, queries
from evidence.cases import CaseContent
from evidence.intake import intake
from evidence.sources.cursor import Source
from evidence.store import Store, sqlite_url
from evolve.migrations import upgrade
from trial.flags import flags_of
from trial.gateway import ReplayGateway
from trial.replay import Replay
from trial.turns import Stop, send_turn


def events(agent: Service, turn: str, kind: str) -> list[Json]:
    lines = (agent.state / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["turn"] == turn and event["kind"] == kind]


def of_tree(folder: Path, policy: Json, shipped: Json | None = None) -> Path:
    """The harness with another policy, and perhaps one more workflow that ships."""
    root = folder / "tree"
    for package in ("harness", "workflows"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "harness/policy.json").write_text(json.dumps(policy))
    if shipped is not None:
        (root / "workflows/library/first.json").write_text(json.dumps(shipped))
    return root


def case_of(folder: Path, request_id: str, place: Path) -> CaseContent:
    """Through evidence, as a failure that somebody flagged."""
    upgrade(sqlite_url(place / "e.db"))
    sources = [Source("events", folder / "state/events.jsonl"), Source("gateway", folder / "calls.jsonl")]
    with Store(sqlite_url(place / "e.db"), place / "blobs") as store:
        assert intake(store, sources, redactor=REDACTOR).aside == ()
        flags.flag(store, request_id, who="ana", reason="look", redactor=REDACTOR, operator=True)
        intake(store, sources, redactor=REDACTOR)
        found = next(one for one in queries.list_evidence(store) if one.request_id == request_id)
        told = queries.get_evidence(store, found.id).events
        assert [event["answered"] for event in told if event["kind"] == "workflow"][-1]
        assert found.batch_id is not None
        [one] = draft.draft(store, found.batch_id).failures
        return draft.case_content(store, one.id, ())


def replayed(case: CaseContent, folder: Path, root: Path = ROOT) -> Service:
    """The same calls and the same reply, and nothing that accuses. The service that did it, no longer running."""
    with (
        ReplayGateway(folder / "g") as played,
        service(
            folder, "harness", root, GATEWAY_SOCKET=str(folder / "g"), TOOL_SERVERS="git,notes,time"
        ) as candidate,
    ):
        played.load(case)
        turn = send_turn(folder / "agent.sock", case.turn, "x-request-id", 30.0, Stop())
        calls, misses = tuple(played.take_log()), played.misses
    log = tuple(map(json.loads, (candidate.state / "events.jsonl").read_text().splitlines()))
    assert misses == ()
    assert turn.reply == case.turn.reply
    made = [(call.target, call.request) for call in calls if "#" not in call.target]
    assert made == [(call.target, call.request) for call in case.cassette.calls]
    assert flags_of(case, Replay((turn,), calls, candidate.state, log, misses)) == ()
    return candidate
