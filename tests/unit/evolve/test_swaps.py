"""Which commit is live, whatever swaps ended in whichever way: `main`, unless a rollback undid its last promotion."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlmodel import update
from web_world import BASE, IMAGE, World, make_home, make_world

from evidence.ledger import Ledger
from evolve import worktree
from evolve.candidate import Candidate
from evolve.errors import Broken
from evolve.product import Product
from evolve.settle import settle
from evolve.swaps import live_commit
from evolve.tables import CandidateRow
from promote.records import SwapRecord

APPROVAL, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
HERS, ELSE = ("promotion", "committed", APPROVAL), ("promotion", "committed", OTHER)
IN_THE_BAKE = ("promotion", "rolled_back", OTHER)
BACK, NOT_DONE = ("rollback", "rolled_back", None), ("rollback", "closed", None)
End = tuple[str, str, str | None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Its candidate was committed under APPROVAL, and `main` has moved."""
    built = make_world(make_home(tmp_path_factory.mktemp("swaps") / "home"), regression=2)
    with built.store.write() as session:
        session.exec(update(CandidateRow).values(approval_digest=APPROVAL))  # type: ignore[call-overload]
    worktree.commit_promotion(built.settings.substrate_repository, candidate(built).commit, "Promote", {})
    yield built
    built.close()


def candidate(world: World) -> Candidate:
    with world.store.read() as session:
        row = session.get_one(CandidateRow, world.candidate_id)
    return Candidate.model_validate_json(world.store.blobs.get(row.candidate_blob))


def ledger_of(world: World) -> Path:
    """Where there is none yet."""
    path = world.settings.home / "promote" / "ledger.db"
    for old in path.parent.glob("ledger.db*"):
        old.unlink()
    return path


def end(world: World, ends: Sequence[End]) -> None:
    with Ledger(ledger_of(world)) as ledger:
        for number, (kind, state, approval) in enumerate(ends):
            record = SwapRecord.model_validate(
                {
                    **dict.fromkeys(SwapRecord.model_fields, None),
                    "v": 1,
                    "swap": f"s{number}",
                    "kind": kind,
                    "state": state,
                    "reason": "",
                    "who": "",
                    "approval_digest": approval,
                    "base_image": BASE,
                    "target_image": IMAGE,
                    "held_ms": 0.0,
                    "bake_turns": 0,
                    "bake_failures": 0,
                    "attempts": 0,
                    "started": "",
                    "ended": "",
                }
            )
            ledger.append("swap", {"swap": f"s{number}", "record": record.model_dump(mode="json")})


@pytest.mark.parametrize(
    ("ends", "undone"),
    [
        ([], False),
        ([HERS], False),
        ([HERS, BACK], True),
        ([HERS, NOT_DONE], False),
        ([HERS, IN_THE_BAKE], False),
        ([HERS, BACK, IN_THE_BAKE], True),
        ([ELSE, HERS, BACK], True),
        ([HERS, BACK, ELSE], False),
    ],
)
def test_main_is_live_unless_its_last_promotion_was_undone(
    world: World, ends: list[End], undone: bool
) -> None:
    end(world, ends)
    main = worktree.head(world.settings.substrate_repository)
    base = candidate(world).base_commit
    assert main != base
    assert live_commit(world.settings, world.store) == (base if undone else main)


def test_a_ledger_that_can_not_be_read_is_no_answer(world: World) -> None:
    ledger_of(world).write_bytes(b"no database, but long enough for one" * 100)
    with pytest.raises(Broken):
        live_commit(world.settings, world.store)


@pytest.mark.parametrize(("known", "approval"), [(None, APPROVAL), ("s0", OTHER)])
def test_a_swap_that_ended_is_followed_also_when_its_id_was_never_written_down(
    tmp_path: Path, known: str | None, approval: str
) -> None:
    built = make_world(make_home(tmp_path / "home"), regression=2)
    with built.store.write() as session:
        mine = {"approval_digest": APPROVAL, "state": "approved", "swap_id": known}
        session.exec(update(CandidateRow).values(mine))  # type: ignore[call-overload]
    product = Product(built.settings)
    try:
        assert settle(product) == []
        end(built, [("promotion", "rejected", APPROVAL)])
        assert known or settle(product) == []
        end(built, [("promotion", "rolled_back", approval)])
        assert settle(product) == [built.candidate_id]
        assert settle(product) == []
    finally:
        product.close()
    with built.store.read() as session:
        row = session.get_one(CandidateRow, built.candidate_id)
    assert (row.state, row.swap_id) == ("rolled_back", "s0")
    built.close()
