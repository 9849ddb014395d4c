"""The runbook: from an accepted approval to `committed` or `rolled_back`, through kills at any point.

    ACCEPTED → PREFLIGHT → HOLD → DRAIN → FENCE → CLONE → START → PROBE → RELEASED (A) → BAKE → COMMITTED (B)

Every step writes its intent, does something that bears repeating, and writes that it is done. Nothing is
remembered in memory: `advance` reads the ledger and goes on from there, so recovery is the ordinary path.
"""

import time
from collections.abc import Mapping

from evidence.canonical import new_id
from promote.bake import Bake, baseline_of
from promote.hooks import HookRunner
from promote.journal import Overtaken, record_of
from promote.parts import POLL, STEP_FAILED, Parts, Stopping
from promote.preflight import PreflightFailed, check, copied, room
from promote.probe import alive, beats
from promote.records import Live, OpenSwap, Previous
from promote.rest import settle
from promote.rollback import begin_rollback, roll_back

MAX_ATTEMPTS = 3
_SNAPSHOT_DRAIN = 2.0
_SICK_LOOKS = 3


def advance(parts: Parts) -> None:
    """Drive whatever is open to its end; with nothing open, make reality equal the last known good."""
    opened = parts.journal.open()
    if opened is None:
        settle(parts)
        parts.keep_images(None)
    elif opened.quarantined is not None:
        parts.edge.hold()
    elif opened.rollback is not None:
        roll_back(parts, opened)
    elif opened.released:
        _resume_bake(parts, opened)
    elif opened.state in ("ACCEPTED", "PREFLIGHT"):
        _promote(parts, opened)
    else:
        roll_back(parts, begin_rollback(parts, "the promoter was interrupted before the release"))


def _promote(parts: Parts, opened: OpenSwap) -> None:
    if opened.attempts >= MAX_ATTEMPTS:
        close(parts, opened, f"preflight was interrupted {opened.attempts} times")
        return
    parts.keep_images(opened)
    try:
        _preflight(parts, opened)
    except PreflightFailed as error:
        close(parts, opened, str(error))
        return
    except Overtaken as error:
        close(parts, opened, f"called off before production was touched: {error}")
        return
    try:
        parts.journal.step("HOLD", lambda o: _hold(parts, o))
        parts.journal.step("DRAIN", lambda _: _drain(parts))
        parts.journal.step("FENCE", lambda _: _fence(parts))
        parts.journal.step("CLONE", lambda o: _clone(parts, o), generation=parts.generations.next())
        parts.recheck(opened)
        opened = _start(parts)
        opened = parts.journal.step("PROBE", lambda o: _probe(parts, o))
        opened = _release(parts, opened)
    except (*STEP_FAILED, Overtaken) as error:
        roll_back(parts, begin_rollback(parts, _why(error)))
        return
    _bake(parts, opened)


def _preflight(parts: Parts, opened: OpenSwap) -> None:
    parts.instances.clear_shadows()
    parts.journal.step("PREFLIGHT", lambda o: _look_ahead(parts, o), attempts=opened.attempts + 1)


def _look_ahead(parts: Parts, opened: OpenSwap) -> Mapping[str, object]:
    """Disk, consent, shadow boot and schema class. The copy is taken in a moment with nothing in flight."""
    source = parts.generations.data(opened.base.generation)
    try:
        room(source, parts.disk)
        parts.recheck(opened)
        parts.patiently(parts.edge.hold)
        try:
            parts.patiently(lambda: parts.drain(_SNAPSHOT_DRAIN))
            with copied(source, parts.scratch) as snapshot:
                parts.patiently(lambda: parts.open_gate(opened.base))
                measured = check(
                    parts.instances, opened.base, opened.target, opened.approved_class, snapshot, parts.timing
                )
        finally:
            parts.open_gate(opened.base)
    except STEP_FAILED as error:
        raise PreflightFailed(_why(error)) from None
    return {"measured_class": measured}


def _hold(parts: Parts, opened: OpenSwap) -> Mapping[str, object]:
    known = baseline_of(parts.patiently(lambda: parts.edge.turns(opened.base.epoch, 0)))
    parts.patiently(parts.edge.hold)
    return {"baseline": known}


def _drain(parts: Parts) -> None:
    parts.patiently(lambda: parts.drain(parts.timing.drain_seconds))


def _fence(parts: Parts) -> Mapping[str, object]:
    """With the old instance gone, whatever the inbox has no answer to is for whoever comes next."""
    parts.instances.fence(parts.timing.stop_grace, parts.timing.fence_seconds)
    return {"inbox_mark": parts.mark_inbox()}


def _clone(parts: Parts, opened: OpenSwap) -> None:
    assert opened.generation is not None
    parts.generations.clone(
        opened.base.generation, opened.generation, lambda name: parts.journal.reach(f"CLONE.{name}")
    )
    migrate = parts.instances.manifest(opened.target).migrate
    if migrate is not None:
        data = parts.generations.data(opened.generation)
        code, output = parts.instances.run_on(opened.target, migrate, data, parts.timing.boot_seconds)
        if code != 0:
            raise OSError(f"migrate failed: {output[-300:].strip()}")
    parts.journal.reach("CLONE.migrated")


def _start(parts: Parts) -> OpenSwap:
    """The epoch is raised and the start's nonce recorded before anything runs."""
    opened = parts.journal.open()
    assert opened is not None
    assert opened.generation is not None
    candidate = Live(
        digest=opened.target,
        generation=opened.generation,
        epoch=parts.journal.raised_epoch(),
        boot_nonce=new_id(),
    )
    return parts.journal.step("START", lambda _: _start_instance(parts, candidate), candidate=candidate)


def _start_instance(parts: Parts, live: Live) -> None:
    parts.instances.start(live)


def _probe(parts: Parts, opened: OpenSwap) -> None:
    assert opened.candidate is not None
    parts.probe_with(opened.candidate, trusted=opened.base.digest)


def _release(parts: Parts, opened: OpenSwap) -> OpenSwap:
    """Point A. The transaction first: a gate that opens without it could let a write be forgotten."""
    assert opened.candidate is not None
    parts.journal.reach("RELEASED.before")
    opened = parts.journal.note("RELEASED", "done", released=True)
    parts.journal.reach("RELEASED.done")
    candidate = opened.candidate
    held = parts.patiently(lambda: parts.open_gate(candidate))  # type: ignore[arg-type]
    parts.journal.reach("RELEASED.opened")
    return parts.journal.note("BAKE", "intent", held_ms=round(held, 1), attempts=1)


def _resume_bake(parts: Parts, opened: OpenSwap) -> None:
    candidate = opened.candidate
    assert candidate is not None
    attempts = opened.attempts + 1 if opened.state == "BAKE" else 1
    if attempts > MAX_ATTEMPTS:
        roll_back(parts, begin_rollback(parts, f"the bake was interrupted {opened.attempts} times"))
    elif not parts.instances.is_running(candidate):
        roll_back(parts, begin_rollback(parts, "the new instance was gone after an interruption"))
    else:
        try:
            held = parts.patiently(lambda: parts.open_gate(candidate))
            opened = parts.journal.note(
                "BAKE", "intent", attempts=attempts, held_ms=opened.held_ms or round(held, 1)
            )
        except Overtaken as error:
            roll_back(parts, begin_rollback(parts, str(error)))
            return
        parts.journal.reach("BAKE.resumed")
        _bake(parts, opened)


def _bake(parts: Parts, opened: OpenSwap) -> None:
    bake = Bake(
        parts.bake, opened.baseline, opened.bake_seconds, opened.bake_turns, parts.timing.bake_limit_seconds
    )
    parts.journal.reach("BAKE.begun")
    told = {"EVOLVE_URL": parts.edge.status().url, "EVOLVE_IMAGE": opened.target}
    with HookRunner(parts.hooks, told) as hooks:
        why = _watch(parts, opened, bake, hooks)
    parts.journal.reach("BAKE.judged")
    if why is None:
        _commit(parts, opened, bake)
    else:
        roll_back(parts, begin_rollback(parts, why), bake)


def _watch(parts: Parts, opened: OpenSwap, bake: Bake, hooks: HookRunner) -> str | None:
    """None when the bake ended well, else why not."""
    assert opened.candidate is not None
    start, after, boot, sick = time.monotonic(), 0, "", 0
    while True:
        if parts.stopping():
            raise Stopping
        current = parts.journal.open()
        if current is None or current.rollback is not None:
            return "a person asked for it" if current is None else current.rollback.reason  # type: ignore[union-attr]
        status = parts.edge.status()
        if status.boot != boot:
            boot, after = status.boot, 0
        marks = parts.edge.turns(opened.candidate.epoch, after)
        after = max((mark.seq for mark in marks), default=after)
        bake.see(marks)
        word, why = bake.judge(time.monotonic() - start)
        if word == "unhealthy":
            return why
        if hooks.failure is not None:
            return hooks.failure
        if status.oldest_seconds > parts.timing.turn_seconds:
            return f"a live turn hangs since {status.oldest_seconds:.0f} s"
        illness = _illness(parts, opened.candidate)
        sick = sick + 1 if illness else 0
        if illness == "gone" or sick >= _SICK_LOOKS:
            return f"the new instance is {illness}"
        if word == "healthy" and not illness and hooks.all_passed:
            return None
        time.sleep(POLL)


def _illness(parts: Parts, live: Live) -> str | None:
    if not parts.instances.is_running(live):
        return "gone"
    run = parts.instances.run_dir(live.epoch)
    if not beats(run, live):
        return "without a heartbeat"
    if not alive(run / "agent.sock", parts.instances.manifest(live.digest), timeout=2.0):
        return "not answering"
    return None


def _commit(parts: Parts, opened: OpenSwap, bake: Bake) -> None:
    """Point B: the new image is the last known good, in the transaction that closes the swap."""
    candidate = opened.candidate
    assert candidate is not None
    record = record_of(
        opened, "committed", bake.judge(opened.bake_seconds)[1], candidate, bake.turns, bake.failures
    )
    parts.journal.reach("COMMITTED.before")
    try:
        with parts.journal.ledger.transaction() as txn:
            current = OpenSwap.model_validate(txn.pointer("open"))
            if current.rollback is not None:
                raise Overtaken(current.rollback.reason)
            parts.journal.row(
                txn,
                opened.swap,
                "COMMITTED",
                "done",
                opened.who,
                opened.reason,
                record=record.model_dump(mode="json"),
            )
            txn.set_pointer("lkg", candidate.model_dump(mode="json"))
            previous = Previous(
                **dict(opened.base),
                swap=opened.swap,
                approved_class=opened.approved_class,
                inbox_mark=opened.inbox_mark,
            )
            txn.set_pointer("previous", previous.model_dump(mode="json"))
            txn.set_pointer("open", None)
            parts.journal.reach("COMMITTED.within")
    except Overtaken as error:
        roll_back(parts, begin_rollback(parts, str(error)), bake)
        return
    parts.journal.reach("COMMITTED.done")
    parts.finish(record)


def close(parts: Parts, opened: OpenSwap, reason: str) -> None:
    """The swap ends and production was never touched."""
    record = record_of(opened, "closed", reason, opened.base)
    parts.journal.reach("CLOSED.before")
    with parts.journal.ledger.transaction() as txn:
        parts.journal.row(
            txn, opened.swap, "CLOSED", "done", opened.who, reason, record=record.model_dump(mode="json")
        )
        txn.set_pointer("open", None)
    parts.journal.reach("CLOSED.done")
    parts.finish(record)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
