"""Freezes a batch: chooses and splits its cases, hashes them, and stores the one object that everything
after it refers to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from evidence.batch import batch_row, change_state
from evidence.builder import GradersFor, chosen_prelude, content, turn_of
from evidence.canonical import canonical_json, utcnow
from evidence.cases import CaseContent, HeldOutCase, MissPolicy, RegressionCase, SealedBatch, VisibleCase
from evidence.changes import note, publish
from evidence.split import Item, SealPolicy, Split, split
from evidence.store import Store
from evidence.tables import BatchRow, CaseRow, EvidenceRow

_E_PROCESS_MINIMUM = 7
"""Won pairs before the gate's e-process can reach 20 at all."""
_MARGIN_CASES = 99
"""Clean cases that carry a margin of three points."""


class NotReady(ValueError):
    """The batch can't be sealed (by itself); the message says what is missing."""


@dataclass(frozen=True)
class Baseline:
    """What the batch failed on and will be compared with."""

    substrate: str
    image: str
    commit: str


@dataclass
class _Chosen:
    visible: list[CaseContent]
    exemplary: list[CaseContent]
    held_out: list[CaseContent]
    regression: list[CaseContent]
    divided: Split
    unchecked: int


def seal(
    store: Store,
    batch_id: str,
    baseline: Baseline,
    *,
    graders_digest: str,
    by: str,
    seed: int,
    reason: str = "",
    by_itself: bool = False,
    policy: SealPolicy | None = None,
    graders_for: GradersFor | None = None,
) -> SealedBatch:
    """Freeze the confirmed (or explicitly unchecked) cases.

    `by_itself` insists on the policy's minimum; a person may seal earlier, and the batch then says what it
    can't show. A sealed
    batch may be sealed anew, which replaces held-out cases that were used up. Raises NotReady.
    """
    policy = policy or SealPolicy()
    with store.read() as session:
        batch = batch_row(session, batch_id)
        if batch.state not in ("open", "sealed"):
            raise NotReady(f"batch {batch_id} is {batch.state}; only an open or sealed one can be sealed")
        chosen = _choose(session, batch, seed, policy, graders_for)
        if by_itself:
            _require_minimum(session, batch, chosen, policy)
        sealed = SealedBatch(
            id=batch_id,
            fingerprint=batch.fingerprint,
            title=batch.title,
            substrate=baseline.substrate,
            baseline_digest=baseline.image,
            baseline_commit=baseline.commit,
            visible=tuple(VisibleCase(**dict(case)) for case in (*chosen.visible, *chosen.exemplary)),
            held_out=tuple(HeldOutCase(**dict(case)) for case in chosen.held_out),
            regression=tuple(RegressionCase(**dict(case)) for case in chosen.regression),
            graders_digest=graders_digest,
            sealed_at=utcnow().isoformat(),
            sealed_by=by,
            cannot_show=_cannot_show(chosen, policy),
        )
        changed = batch.changed
    _freeze(store, sealed, by, seed, reason, changed)
    return sealed


def _freeze(store: Store, sealed: SealedBatch, by: str, seed: int, reason: str, changed: str) -> None:
    """The blob is durable before the row names it; a crash in between leaves an unnamed file and an open
    batch.
    """
    stored = store.blobs.put(canonical_json(sealed))
    with store.write() as session:
        batch = batch_row(session, sealed.id)
        if batch.changed != changed:
            raise NotReady(f"batch {sealed.id} was changed meanwhile; seal it again")
        batch.sealed_digest = stored
        data: dict[str, object] = {
            "digest": stored,
            "seed": seed,
            "visible": len(sealed.visible),
            "held_out": len(sealed.held_out),
            "regression": len(sealed.regression),
            "cannot_show": list(sealed.cannot_show),
        }
        if batch.state == "open":
            change_state(session, batch, "sealed", reason=reason, who=by, data=data)
        else:
            batch.changed = utcnow().isoformat()
            note(session, "batch.resealed", batch.id, by, reason, data)
        session.add(batch)
        frozen: list[VisibleCase | HeldOutCase | RegressionCase] = [
            *sealed.visible,
            *sealed.held_out,
            *sealed.regression,
        ]
        splits = {case.id: case.split for case in frozen}
        for row in session.exec(select(CaseRow).where(CaseRow.batch_id == sealed.id)):
            row.split = splits.get(row.id, "")
            session.add(row)
    publish(store)


def _choose(
    session: Session, batch: BatchRow, seed: int, policy: SealPolicy, graders_for: GradersFor | None
) -> _Chosen:
    rows = session.exec(
        select(CaseRow)
        .where(CaseRow.batch_id == batch.id, col(CaseRow.state).in_(["confirmed", "unchecked"]))
        .order_by(col(CaseRow.id))
    ).all()
    failures = _distinct([row for row in rows if row.role == "failure"], set())
    taken = {row.input_digest for row in failures}
    worked = _distinct([row for row in rows if row.role == "regression"], taken)
    cases = {row.id: _graded(session, row, graders_for, policy.on_tool_miss) for row in (*failures, *worked)}
    failures = [row for row in failures if cases[row.id] is not None]
    divided = split([_item(session, row, policy) for row in failures], seed, policy)
    good = [row.id for row in worked if cases[row.id] is not None]
    spare = max(0, len(good) - policy.min_regression)  # never at the price of showing that nothing was lost
    exemplary = _alike(good, divided.visible, cases)[: min(policy.max_exemplary, spare)]
    regression = [key for key in good if key not in exemplary][: policy.max_regression]
    used = {*divided.visible, *divided.held_out, *regression}

    def pick(ids: Sequence[str]) -> list[CaseContent]:
        return [case for key in ids if (case := cases[key]) is not None]

    return _Chosen(
        visible=pick(divided.visible),
        exemplary=pick(exemplary),
        held_out=pick(divided.held_out),
        regression=pick(regression),
        divided=divided,
        unchecked=sum(row.state == "unchecked" and row.role == "failure" for row in rows if row.id in used),
    )


def _alike(good: Sequence[str], failing: Sequence[str], cases: Mapping[str, CaseContent | None]) -> list[str]:
    """What worked, those first that the failing cases' own graders judge."""

    def graders(key: str) -> set[str]:
        case = cases[key]
        return {grader.name for grader in case.graders} if case is not None else set()

    wanted = set[str]().union(*map(graders, failing))
    return sorted(good, key=lambda key: -len(graders(key) & wanted))


def _distinct(rows: Sequence[CaseRow], taken: set[str]) -> list[CaseRow]:
    kept: dict[str, CaseRow] = {}
    for row in rows:
        if row.input_digest not in taken:
            kept.setdefault(row.input_digest, row)
    return list(kept.values())


def _graded(
    session: Session, row: CaseRow, graders_for: GradersFor | None, on_tool_miss: MissPolicy
) -> CaseContent | None:
    """The case, or None when graders were asked for and none applies: it could not decide anything."""
    case = content(session, row, chosen_prelude(session, row), graders_for, on_tool_miss)
    return None if graders_for and not case.graders else case


def _item(session: Session, row: CaseRow, policy: SealPolicy) -> Item:
    turn = turn_of(session, row.request_id)
    length = len(row.prelude or ())
    stratum = f"{turn.shape}|{min(length, 3)}"
    return Item(row.id, turn.session, stratum, retired=row.decided >= policy.retire_after)


def _require_minimum(session: Session, batch: BatchRow, chosen: _Chosen, policy: SealPolicy) -> None:
    voices = set(session.exec(select(EvidenceRow.principal).where(EvidenceRow.batch_id == batch.id)))
    for have, want, what in (
        (len(chosen.visible), policy.min_visible, "visible cases"),
        (len(chosen.held_out), policy.min_held_out, "held-out cases"),
        (len(chosen.regression), policy.min_regression, "regression cases"),
        (
            policy.min_principals if batch.tagged_by else len(voices),
            policy.min_principals,
            "users or sessions",
        ),
    ):
        if have < want:
            raise NotReady(f"batch {batch.id} has {have} of {want} {what}; a person may seal it earlier")


def _cannot_show(chosen: _Chosen, policy: SealPolicy) -> tuple[str, ...]:
    visible, held_out, regression = len(chosen.visible), len(chosen.held_out), len(chosen.regression)
    if not visible and not held_out:
        raise NotReady("no failed case is confirmed or admitted unchecked: there is nothing to seal")
    said: list[str] = []
    if held_out < _E_PROCESS_MINIMUM:
        said.append(
            f"{held_out} held-out cases can't show a gain: "
            f"at least {_E_PROCESS_MINIMUM} must be won for a verdict."
        )
    elif held_out < policy.min_held_out:
        said.append(f"{held_out} held-out cases show only a large gain; {policy.min_held_out} are asked for.")
    if visible < policy.min_visible:
        said.append(
            f"{visible} visible cases may not describe the failure; {policy.min_visible} are asked for."
        )
    if not regression:
        said.append("Without regression cases nothing shows that what worked goes on working.")
    elif regression < _MARGIN_CASES:
        points = 100 * (1 - 0.05 ** (1 / regression))
        said.append(f"{regression} regression cases can't exclude a loss of up to {points:.1f} points.")
    if chosen.unchecked:
        said.append(f"{chosen.unchecked} failed cases were not replayed on the baseline before sealing.")
    if chosen.divided.straddling:
        said.append(
            f"{len(chosen.divided.straddling)} sessions have cases on both sides: "
            "visible and held-out ones are not independent."
        )
    return tuple(said)


def count_verdict(store: Store, batch_id: str) -> int:
    """A verdict was drawn from the batch's held-out cases; returns how many of them are used up by now
    (policy permitting).
    """
    with store.write() as session:
        rows = session.exec(
            select(CaseRow).where(CaseRow.batch_id == batch_id, CaseRow.split == "held_out")
        ).all()
        for row in rows:
            row.decided += 1
            session.add(row)
        return sum(row.decided >= SealPolicy().retire_after for row in rows)
