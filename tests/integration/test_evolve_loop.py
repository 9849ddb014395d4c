"""From failing requests to a committed swap and back, over the real command, sandbox, edge, gateway and promoter."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evolve_world import APPROVER, PASSPHRASE, Users, World, approve, ask, git, running

from containers.shim.files import wipe
from evolve.evolution import load_sealed
from evolve.product import Product


@pytest.fixture(scope="module")
def live(sealed_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    world = sealed_world.copy(tmp_path_factory.mktemp("loop") / "home")
    with running(world) as url:
        yield world, url


def converged(world: World, name: str) -> dict[str, Any]:
    run = world.ok("run", "start", world.batch(name), "--coder", name, "--reason", "users complain")
    assert run["verdict"] == "converged", run
    return dict(next(c for c in world.ok("candidate") if c["id"] == run["candidate_id"]))


def test_the_whole_way(live: tuple[World, str], tmp_path: Path) -> None:
    world, url = live
    first, second = converged(world, "sum"), converged(world, "length")
    before = git(world, "rev-parse", "main").strip()
    look_at(world, first, tmp_path)
    consent_is_refused(world, first)

    for candidate in (first, second):
        assert world.ok(*approve(world, candidate), given=PASSPHRASE + "\n")["approval"]
    assert git(world, "rev-parse", "main").strip() == before  # consent alone moves nothing
    with Users(url, "during") as users:
        swap = world.ok("promote", first["id"])
    assert swap["state"] == "committed"
    assert users.lost == []
    assert len(users.answers) >= 50
    assert [answer for _, answer in ask(url, ["add 1 2 3 4", "add 5 6"], "after")] == ["10", "11"]
    main_has_moved(world, first, before, swap)
    provenance_is_signed(world, first, swap, tmp_path)
    world.refused(3, "not_found", "candidate", "provenance", second["id"])

    stale = world.refused(1, "refused", "promote", second["id"])
    assert "base" in stale["message"]
    assert ask(url, ["add 1 2 3 4"], "still") == [(200, "10")]
    world.refused(1, "refused", "promote", first["id"])  # an approval is used once
    world.refused(1, "refused", "run", "start", world.batch("sum"), "--reason", "again")

    again = told_to_seal_anew(world, second)
    back = world.ok("rollback", "--reason", "drill")
    assert back["state"] == "rolled_back"
    assert ask(url, ["add 1 2 3 4"], "back") == [(200, "6")]
    what_was_undone_is_nobody_s_base(world, again, before)
    assert world.ok("audit", "verify")["valid"]


def told_to_seal_anew(world: World, stale: dict[str, Any]) -> dict[str, Any]:
    """The way on for a fix whose base is gone: decline it, seal the batch on what is live now, run again."""
    world.ok("decline", stale["id"], "--reason", "another fix went first", "--as", APPROVER)
    world.refused(4, "needs_consent", "run", "start", stale["batch_id"], "--reason", "too early")
    world.ok("batch", "seal", stale["batch_id"], "--reason", "on what is live now")
    again = converged(world, "length")
    assert again["image"] != stale["image"]
    return again


def what_was_undone_is_nobody_s_base(world: World, stale: dict[str, Any], live: str) -> None:
    """Else the next fix would bring it back, in no diff that a person is shown."""
    world.ok("decline", stale["id"], "--reason", "its base was rolled back", "--as", APPROVER)
    world.ok("batch", "seal", stale["batch_id"], "--reason", "on what is live again")
    with Product.open(world.home) as product:
        sealed = load_sealed(product, stale["batch_id"])
        assert (sealed.baseline_commit, sealed.baseline_digest) == (live, product.live_image())
    assert git(world, "rev-parse", "main").strip() != live


def look_at(world: World, candidate: dict[str, Any], folder: Path) -> None:
    story = world.ok("candidate", "show", candidate["id"])
    assert story["report"]["verdict"] == "converged"
    assert "guard" in str(story["report"]["checks"])
    assert story["problems"] == []
    shown = world.run("candidate", "show", candidate["id"])
    assert shown.code == 0
    assert "held_out" in shown.out
    diff = world.run("candidate", "diff", candidate["id"]).out
    assert "+++ b/service/turns.py" in diff
    patch = folder / "fix.patch"
    world.ok("candidate", "export", candidate["id"], "--patch", str(patch))
    tree = folder / "upstream"
    git(world, "worktree", "add", "--detach", "-f", str(tree), "main")
    subprocess.run(["git", "-C", str(tree), "apply", "--check", str(patch)], check=True)
    git(world, "worktree", "remove", "--force", str(tree))
    world.ok("candidate", "export", candidate["id"], "--branch", "fix/sum")
    assert git(world, "rev-parse", "fix/sum").strip() == candidate["commit"]
    world.refused(2, "bad_input", "candidate", "export", candidate["id"], "--branch", "fix/sum")
    image = world.home / "images" / candidate["image"].removeprefix("sha256:")
    wipe(str(image))
    image.rmdir()
    case = world.ok("trial", "show", candidate["id"])[0]["case_id"]
    gone = world.refused(5, "broken", "trial", "rerun", candidate["id"], case)
    assert "build it again" in gone["message"]
    assert world.ok("candidate", "rebuild", candidate["id"])["image"] == candidate["image"]
    case = world.ok("trial", "show", candidate["id"])[0]["case_id"]
    again = world.ok("trial", "rerun", candidate["id"], case)
    assert [(t["arm"], t["outcome"]) for t in again] in (
        [("baseline", "fail"), ("candidate", "pass")],
        [("baseline", "pass"), ("candidate", "pass")],
    )


def consent_is_refused(world: World, candidate: dict[str, Any]) -> None:
    """Not by the requester, an unknown person, a wrong passphrase, wrong digits; and nothing is promoted unapproved."""
    right = PASSPHRASE + "\n"
    world.refused(4, "needs_consent", *approve(world, candidate, who="olga"), given=right)
    world.refused(4, "needs_consent", *approve(world, candidate, who="eve"), given=right)
    world.refused(4, "needs_consent", *approve(world, candidate), given="wrong\n")
    world.refused(2, "bad_input", *approve(world, candidate, digest="00000000"), given=right)
    world.refused(4, "needs_consent", "promote", candidate["id"])
    assert not list((world.home / "approvals").glob("*"))


def main_has_moved(world: World, candidate: dict[str, Any], before: str, swap: dict[str, Any]) -> None:
    message = git(world, "log", "-1", "--format=%P%n%B", "main")
    assert message.startswith(before)
    trailers = dict(line.split(": ", 1) for line in message.splitlines()[3:] if ": " in line)
    assert trailers["Run"] == candidate["run_id"]
    assert trailers["Batch"] == candidate["batch_id"]
    assert trailers["Report"].startswith("sha256:")
    assert trailers["Approval"] == swap["approval_digest"]
    assert git(world, "rev-parse", "main^{tree}") == git(
        world, "rev-parse", f"{candidate['commit']}^{{tree}}"
    )
    assert git(world, "status", "--porcelain") == ""
    [found] = [c for c in world.ok("candidate") if c["id"] == candidate["id"]]
    assert found["state"] == "committed"
    assert world.ok("batch", "show", candidate["batch_id"])["state"] == "applied"


def provenance_is_signed(world: World, candidate: dict[str, Any], swap: dict[str, Any], folder: Path) -> None:
    out = folder / "provenance.intoto.jsonl"
    shown = world.ok("candidate", "provenance", candidate["id"], "--out", str(out))
    said = shown["statement"]["predicate"]
    assert shown["statement"]["subject"][0]["digest"] == {"sha256": candidate["image"].split(":")[1]}
    assert (said["swap"], said["run"]) == (swap["swap"], candidate["run_id"])
    assert said["source"]["digest"] == {"gitCommit": candidate["commit"]}
    assert [person["name"] for person in said["approval"]["approvers"]] == [APPROVER]
    assert json.loads(out.read_bytes()) == shown["envelope"]
    assert world.run("candidate", "provenance", candidate["id"]).out == out.read_text()
    assert world.ok("audit", "verify")["provenance"]["entries"] == 1
    (kept,) = (world.home / "promote" / "swaps").glob("*.intoto.jsonl")
    kept.write_bytes(out.read_bytes().replace(b'"payload":"', b'"payload":"AAAA'))
    world.refused(1, "refused", "candidate", "provenance", candidate["id"])
    found = world.run("audit", "verify", "--json")
    assert found.code == 1
    assert "altered" in json.loads(found.out)["provenance"]["problems"][0]
    kept.write_bytes(out.read_bytes())


def test_declined_then_approved_is_no_longer_possible(sealed_world: World, tmp_path: Path) -> None:
    world = sealed_world.copy(tmp_path / "home")
    candidate = converged(world, "sum")
    world.refused(4, "needs_consent", "decline", candidate["id"], "--reason", "no", "--as", "eve")
    world.refused(2, "bad_input", "decline", candidate["id"], "--reason", " ", "--as", APPROVER)
    assert world.ok("decline", candidate["id"], "--reason", "not this way", "--as", APPROVER)
    batch = world.ok("batch", "show", candidate["batch_id"])
    assert (batch["state"], "not this way" in batch["reason"]) == ("sealed", True)
    world.refused(1, "refused", *approve(world, candidate), given=PASSPHRASE + "\n")
    world.refused(4, "needs_consent", "promote", candidate["id"])
    whys = [entry["reason"] for entry in world.ok("audit", "tail")]
    assert "not this way" in whys


@pytest.mark.parametrize(
    ("coder", "word"), [("nothing", "empty diff"), ("worse", "regressed|needs_work"), ("protected", "guard.")]
)
def test_what_does_not_converge_asks_nobody(
    sealed_world: World, tmp_path: Path, coder: str, word: str
) -> None:
    world = sealed_world.copy(tmp_path / "home")
    done = world.run("run", "start", world.batch("sum"), "--coder", coder, "--reason", "try")
    assert done.code == 1
    run = world.ok("run")[0]
    assert run["verdict"] in ("needs_work", "regressed")
    assert any(part in run["verdict"] + run["verdict_reason"] for part in word.split("|"))
    assert [c["state"] for c in world.ok("candidate")] in ([], ["tried"], ["refused"])
    assert world.ok("batch", "show", run["batch_id"])["state"] == "sealed"
