"""The way back: hold, fence, choose the generation once, start the old image under a raised epoch, probe it
too.

    RB_BEGIN → RB_HOLD → RB_DRAIN → RB_FENCE → RB_CHOOSE (txn) → RB_START → RB_PROBE → RB_REPLAY → ROLLED_BACK |
    QUARANTINED

Before the release no user's write exists on the new generation and the old one is returned to. After it,
accepted writes lie in the new generation: the old image takes that one over when it can open it (tried on a
copy). Where it can't, they are left behind only by people's word: the two who approved the swap as lossy, or the
one who asks for it in a quarantine. Then turns of the inbox are answered anew, and the new generation is kept.
"""

from collections.abc import Mapping

from containers.runtime import EngineUnavailable
from evidence.canonical import new_id, utcnow
from promote.bake import Bake
from promote.journal import abandoned, kept_in, record_of
from promote.parts import STEP_FAILED, Parts
from promote.preflight import copied, opens
from promote.records import EndState, Kept, Live, OpenSwap, Rollback

MAX_ROLLBACK_ATTEMPTS = 5
_DEATHS = 3
"""Attempts until an old image whose instance died is taken for one that can't live."""
_DRAIN_SECONDS = 3.0
KEEP_SECONDS = 7 * 86_400.0
"""How long users' writes that a rollback left behind can be looked at."""


class Unhealable(Exception):
    """Neither image can be brought up on state that it can open."""


def begin_rollback(parts: Parts, reason: str, who: str = "promoter") -> OpenSwap:
    """Record why, once; from here on there is only the way back."""
    parts.journal.reach("RB_BEGIN.before")
    opened = _current(parts)
    if opened.rollback is None:
        opened = parts.journal.note(
            "RB_BEGIN", "done", rolling_back=True, rollback=Rollback(reason=reason, who=who)
        )
    parts.journal.reach("RB_BEGIN.done")
    return opened


def roll_back(parts: Parts, opened: OpenSwap, bake: Bake | None = None) -> None:
    """Drive a rollback to its end, from wherever it stands. Raises EngineUnavailable, Unreachable (the edge) and OSError
    (the disk of the state is full): that says nothing about an image, so nothing is decided and no attempt is spent
    before it has passed."""
    assert opened.rollback is not None
    parts.instances.writers()
    parts.edge.status()
    parts.generations.writable()
    if opened.rollback.attempts >= MAX_ROLLBACK_ATTEMPTS:
        _quarantine(parts, opened, f"the rollback was interrupted {opened.rollback.attempts} times")
        return
    step = parts.journal.step
    more = opened.rollback.model_copy(update={"attempts": opened.rollback.attempts + 1})
    try:
        step("RB_HOLD", lambda _: parts.edge.hold(), rolling_back=True, rollback=more)
        step("RB_DRAIN", lambda _: parts.drain(_DRAIN_SECONDS), rolling_back=True)
        step("RB_FENCE", lambda o: _fence(parts, o), rolling_back=True)
        opened = _choose(parts)
        opened = _start(parts, opened)
        opened = step("RB_PROBE", lambda o: _probe(parts, o), rolling_back=True)
        if abandoned(opened, _chosen(opened).live) is not None:
            opened = step("RB_REPLAY", lambda o: _replay(parts, o), rolling_back=True)
    except Unhealable as error:
        _fall_back_or_quarantine(parts, str(error))
        return
    except EngineUnavailable:
        raise
    except STEP_FAILED as error:
        parts.generations.writable()
        if more.attempts < _DEATHS and _died(parts):
            roll_back(parts, _current(parts), bake)
        else:
            _fall_back_or_quarantine(parts, f"{type(error).__name__}: {error}")
        return
    _finish(parts, opened, bake)


def _current(parts: Parts) -> OpenSwap:
    opened = parts.journal.open()
    assert opened is not None
    return opened


def _died(parts: Parts) -> bool:
    """An instance that somebody killed says nothing about its image."""
    live = _chosen(_current(parts)).live
    return live is not None and not parts.instances.is_running(live)


def _chosen(opened: OpenSwap) -> Rollback:
    assert opened.rollback is not None
    return opened.rollback


def _fence(parts: Parts, opened: OpenSwap) -> None:
    """A start that an earlier attempt made under the recorded epoch is adopted, not stopped."""
    parts.instances.fence(parts.timing.stop_grace, parts.timing.fence_seconds, keep=_chosen(opened).live)


def _choose(parts: Parts) -> OpenSwap:
    opened = _current(parts)
    parts.journal.reach("RB_CHOOSE.before")
    choice = _chosen(opened)
    if choice.generation is None:
        choice = choice.model_copy(update={"generation": _generation(parts, opened)})
        opened = parts.journal.note("RB_CHOOSE", "done", rolling_back=True, rollback=choice)
    parts.journal.reach("RB_CHOOSE.done")
    return opened


def _generation(parts: Parts, opened: OpenSwap) -> int:
    if not opened.released or opened.candidate is None:
        return opened.base.generation
    newest = opened.candidate.generation
    with copied(parts.generations.data(newest), parts.scratch) as copy:
        why = opens(parts.instances, opened.base.digest, copy, parts.timing.boot_seconds)
    if why is None:
        return newest
    if opened.approved_class == "lossy":
        return opened.base.generation
    raise Unhealable(f"the old image can't open generation {newest}: {why}")


def _start(parts: Parts, opened: OpenSwap) -> OpenSwap:
    choice = _chosen(opened)
    assert choice.generation is not None
    if choice.live is None or not parts.instances.is_running(choice.live):
        live = Live(
            digest=opened.base.digest,
            generation=choice.generation,
            epoch=parts.journal.raised_epoch(),
            boot_nonce=new_id(),
        )
        choice = choice.model_copy(update={"live": live})
    return parts.journal.step(
        "RB_START", lambda o: _start_instance(parts, o), rolling_back=True, rollback=choice
    )


def _start_instance(parts: Parts, opened: OpenSwap) -> None:
    live = _chosen(opened).live
    assert live is not None
    parts.instances.start(live)


def _probe(parts: Parts, opened: OpenSwap) -> Mapping[str, object] | None:
    live = _chosen(opened).live
    assert live is not None
    parts.probe_with(live, trusted=opened.base.digest)
    return None


def _replay(parts: Parts, opened: OpenSwap) -> Mapping[str, object]:
    """Before the gate opens, so that a session's turns keep their order. What the old image's state has already it answers
    again without effect."""
    replayed = parts.reopen_inbox(opened.inbox_mark)
    return {"rollback": _chosen(opened).model_copy(update={"replayed": replayed})}


def _finish(parts: Parts, opened: OpenSwap, bake: Bake | None) -> None:
    choice = _chosen(opened)
    assert choice.live is not None
    state: EndState = "closed" if choice.fell_back else "rolled_back"
    turns, failures = (bake.turns, bake.failures) if bake is not None else (0, 0)
    record = record_of(opened, state, choice.reason, choice.live, turns, failures)
    parts.journal.reach("ROLLED_BACK.before")
    with parts.journal.ledger.transaction() as txn:
        shown = record.model_dump(mode="json")
        parts.journal.row(txn, opened.swap, state.upper(), "done", choice.who, choice.reason, record=shown)
        txn.set_pointer("lkg", choice.live.model_dump(mode="json"))
        if opened.kind == "rollback" and not choice.fell_back:
            txn.set_pointer("previous", None)
        left = abandoned(opened, choice.live)
        if left is not None:
            txn.set_pointer("kept", _keeping(txn.pointer("kept"), left))
        txn.set_pointer("open", None)
        parts.journal.reach("ROLLED_BACK.within")
    parts.journal.reach("ROLLED_BACK.done")
    parts.open_gate(choice.live)
    parts.journal.reach("ROLLED_BACK.opened")
    parts.finish(record)


def _keeping(known: Mapping[str, object] | None, generation: int) -> dict[str, object]:
    now = utcnow().timestamp()
    still = [kept for kept in kept_in(known) if kept.until > now]
    kept = [*still, Kept(generation=generation, until=now + KEEP_SECONDS)]
    return {"generations": [item.model_dump(mode="json") for item in kept]}


def _fall_back_or_quarantine(parts: Parts, why: str) -> None:
    """A person's rollback that can't be done brings back what was live; anything else waits for a person."""
    opened = _current(parts)
    choice = _chosen(opened)
    if opened.kind != "rollback" or choice.fell_back or opened.candidate is None:
        _quarantine(parts, opened, why)
        return
    back = Rollback(
        reason=f"{choice.reason}; not done: {why}",
        who=choice.who,
        generation=opened.candidate.generation,
        fell_back=True,
    )
    opened = parts.journal.note("RB_BEGIN", "done", rolling_back=True, rollback=back, base=opened.candidate)
    roll_back(parts, opened)


def _quarantine(parts: Parts, opened: OpenSwap, why: str) -> None:
    """Keep the gate shut, keep both generations, call a person."""
    parts.journal.reach("QUARANTINED.before")
    parts.edge.hold()
    record = record_of(opened, "quarantined", why, None)
    with parts.journal.ledger.transaction() as txn:
        held = opened.model_copy(update={"quarantined": why, "state": "QUARANTINED"})
        shown = record.model_dump(mode="json")
        parts.journal.row(txn, opened.swap, "QUARANTINED", "done", "promoter", why, record=shown)
        txn.set_pointer("open", held.model_dump(mode="json"))
    parts.journal.reach("QUARANTINED.done")
    parts.finish(record)
