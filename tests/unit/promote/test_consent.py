"""Approvals: signatures, people, expiry, bytes."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from evidence.canonical import digest, new_id, utcnow
from promote.approval import Approval, SignedApproval
from promote.bundle import FILES, BundleRefused, capability_growth, check, take_in, write_bundle
from promote.keys import (
    KeyRefused,
    create_person_key,
    machine_key,
    public_key,
    public_text,
    sign,
    sign_as,
    signed_by,
    unlock,
)
from promote.policy import ConsentPolicy, ConsentRefused, Need, Person, approvers_needed

ANNA, BERT, OTTO = (Ed25519PrivateKey.generate() for _ in range(3))
TARGET, BASE = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def contents() -> dict[str, object]:
    diff = b"+ a line\n"
    batch = {"cases": ["c1"], "graders_digest": digest({})}
    candidate = {
        "run_id": new_id(),
        "image": TARGET,
        "base_image": BASE,
        "commit": "c" * 40,
        "diff_sha256": digest(diff),
        "batch_digest": digest(batch),
    }
    report = {
        "candidate_digest": digest(candidate),
        "candidate_image": TARGET,
        "baseline_image": BASE,
        "batch_digest": digest(batch),
        "verdict": "converged",
        "trials_digest": digest([]),
    }
    return {
        "candidate.json": candidate,
        "report.json": report,
        "batch.json": batch,
        "held_out.json": ["c9"],
        "diff.patch": diff,
        "workflow_graph.json": {},
        "capability_diff.json": {"added": []},
    }


def approval(fields: dict[str, str], **changes: object) -> Approval:
    values: dict[str, object] = {
        "nonce": new_id(),
        "target_image": TARGET,
        "base_image": BASE,
        "source_commit": "c" * 40,
        "schema_reads": (1,),
        "schema_writes": 1,
        "rollback_class": "same",
        "policy": "separate",
        "promoter_digest": "sha256:" + "e" * 64,
        "requester": "rita",
        "approver": "anna",
        "reason": "good",
        "bake_seconds": 10.0,
        "bake_turns": 50,
        "expires": (utcnow() + timedelta(hours=23)).isoformat(),
        **fields,
    }
    return Approval.model_validate({**values, **changes})


def policy(**changes: object) -> ConsentPolicy:
    values: dict[str, object] = {
        "people": (
            Person(name="anna", public_key=public_text(ANNA.public_key())),
            Person(name="bert", public_key=public_text(BERT.public_key())),
            Person(name="otto", public_key=public_text(OTTO.public_key()), roles=("operator",)),
        ),
        "solo": False,
        "accept_inconclusive": False,
        "promoter_digest": "sha256:" + "e" * 64,
        "bake_seconds": 10.0,
        "bake_turns": 50,
    }
    return ConsentPolicy(**{**values, **changes})  # type: ignore[arg-type]


def judge(signed: SignedApproval, rules: ConsentPolicy | None = None, **seen: object) -> None:
    found = {"verdict": "converged", "grows": False, "schema_changes": False, **seen}
    (rules or policy()).check(signed, **found)  # type: ignore[arg-type]


@pytest.fixture
def fields(tmp_path: Path) -> dict[str, str]:
    return write_bundle(tmp_path / "bundle", contents())


def test_a_good_approval_passes(tmp_path: Path, fields: dict[str, str]) -> None:
    good = approval(fields)
    judge(sign(good, ANNA))
    check(tmp_path / "bundle", good)


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("expired", {"expires": timedelta(minutes=-5, seconds=-5)}),
        ("longer than 24", {"expires": timedelta(hours=24, minutes=6)}),
        ("no time zone", {"expires": utcnow().replace(tzinfo=None).isoformat()}),
        ("no RFC 3339", {"expires": "tomorrow"}),
        ("another build", {"promoter_digest": "sha256:" + "0" * 64}),
        ("may not approve", {"requester": "anna"}),
        ("solo is not permitted", {"policy": "solo"}),
        ("1 of 2 approvers have signed: a rollback would lose writes", {"rollback_class": "lossy"}),
        ("shorter than 10 s", {"bake_seconds": 9.99}),
        ("shorter than 10 s", {"bake_turns": 49}),
    ],
)
def test_what_an_approval_may_not_say(fields: dict[str, str], why: str, changes: dict[str, object]) -> None:
    if isinstance(
        span := changes.get("expires"), timedelta
    ):  # from now, not from when the tests were collected
        changes = {"expires": (utcnow() + span).isoformat()}
    with pytest.raises(ConsentRefused, match=why):
        judge(sign(approval(fields, **changes), ANNA))


def test_two_people_may_approve_as_lossy(fields: dict[str, str]) -> None:
    one = sign(approval(fields, rollback_class="lossy"), ANNA)
    judge(sign_as("bert", one.approval, BERT, one))


def test_a_clock_that_is_five_minutes_off_is_forgiven(fields: dict[str, str]) -> None:
    judge(sign(approval(fields, expires=(utcnow() - timedelta(minutes=4, seconds=55)).isoformat()), ANNA))


def test_solo_is_both_sides_word(fields: dict[str, str]) -> None:
    alone = sign(approval(fields, requester="anna", policy="solo"), ANNA)
    judge(alone, policy(solo=True))
    with pytest.raises(ConsentRefused, match="may not approve"):
        judge(sign(approval(fields, requester="anna"), ANNA), policy(solo=True))


def test_a_signature_of_other_bytes_counts_for_nothing(fields: dict[str, str]) -> None:
    signed = sign(approval(fields), ANNA)
    other = signed.model_copy(update={"approval": approval(fields, bake_turns=51)})
    with pytest.raises(ConsentRefused, match="not over these bytes"):
        judge(other)
    with pytest.raises(ConsentRefused, match="not over these bytes"):
        judge(sign(approval(fields), BERT))


def test_only_registered_approvers_count_and_the_named_one_must_sign(fields: dict[str, str]) -> None:
    with pytest.raises(ConsentRefused, match="mallory is not registered as an approver"):
        judge(sign(approval(fields, approver="mallory"), BERT))
    with pytest.raises(ConsentRefused, match="otto may not approve: the role approver is missing"):
        judge(sign(approval(fields, approver="otto"), OTTO))
    unsigned = SignedApproval(approval=approval(fields), signatures={})
    with pytest.raises(ConsentRefused, match="did not sign"):
        judge(unsigned)


@pytest.mark.parametrize("seen", [{"grows": True}, {"schema_changes": True}], ids=repr)
@pytest.mark.parametrize("solo", [False, True])
def test_growth_and_schema_changes_need_two_people(
    fields: dict[str, str], seen: dict[str, object], solo: bool
) -> None:
    """Under solo, too: it lets the requester be one of them, no more."""
    rules = policy(solo=solo)
    one = sign(approval(fields, policy="solo" if solo else "separate"), ANNA)
    judge(one, rules)
    with pytest.raises(ConsentRefused, match="1 of 2 approvers have signed: it "):
        judge(one, rules, **seen)
    judge(sign_as("bert", one.approval, BERT, one), rules, **seen)


def test_lossy_needs_two_people() -> None:
    assert approvers_needed(1, grows=False, schema_changes=False, lossy=False) == Need(1)
    assert approvers_needed(1, grows=False, schema_changes=False, lossy=True).approvers == 2
    assert approvers_needed(3, grows=True, schema_changes=True, lossy=True).approvers == 3


def test_an_operator_may_ask_for_more(fields: dict[str, str]) -> None:
    one = sign(approval(fields), ANNA)
    with pytest.raises(ConsentRefused, match="1 of 2 approvers have signed"):
        judge(one, policy(approvers_needed=2))
    two = sign_as("bert", one.approval, BERT, one)
    judge(two, policy(approvers_needed=2))
    with pytest.raises(ConsentRefused, match="2 of 3 approvers have signed"):
        judge(two, policy(approvers_needed=3), grows=True)


def test_one_person_is_one_signature(fields: dict[str, str]) -> None:
    """Under two names, with the key spelled in another way, or with the signature written down twice."""
    one = sign(approval(fields), ANNA)
    text = public_text(ANNA.public_key())
    other_spelling = text[:-2] + {"A": "B", "E": "F", "I": "J"}.get(text[-2], chr(ord(text[-2]) + 1)) + "="
    for key in (text, other_spelling):
        twin = Person(name="annie", public_key=key)
        rules = policy(people=(*policy().people, twin))
        with pytest.raises(ConsentRefused, match="anna and annie hold one key"):
            judge(sign_as("annie", one.approval, ANNA, one), rules, grows=True)
    signature = f'"anna":"{one.signatures["anna"]}"'
    doubled = one.model_dump_json().replace(signature, f"{signature},{signature}")
    assert doubled.count(signature) == 2
    with pytest.raises(ConsentRefused, match="1 of 2"):
        judge(SignedApproval.model_validate_json(doubled), grows=True)


def test_the_requester_is_not_one_of_the_two(fields: dict[str, str]) -> None:
    """Neither by name nor under another name with the same key."""
    one = sign(approval(fields, requester="bert"), ANNA)
    with pytest.raises(ConsentRefused, match="bert asked for this run"):
        judge(sign_as("bert", one.approval, BERT, one), grows=True)
    twin = Person(name="rita", public_key=public_text(BERT.public_key()), roles=("operator",))
    one = sign(approval(fields, requester="rita"), ANNA)
    with pytest.raises(ConsentRefused, match="rita asked for this run"):
        judge(sign_as("bert", one.approval, BERT, one), policy(people=(*policy().people, twin)), grows=True)


def test_a_bad_signature_is_not_made_good_by_enough_others(fields: dict[str, str]) -> None:
    one = sign(approval(fields), ANNA)
    with pytest.raises(ConsentRefused, match="otto may not approve"):
        judge(sign_as("otto", one.approval, OTTO, one))
    with pytest.raises(ConsentRefused, match="bert's signature is not over these bytes"):
        judge(sign_as("bert", one.approval, OTTO, one))
    with pytest.raises(ConsentRefused, match="1 of 2"):
        judge(sign_as("anna", one.approval, ANNA, one), grows=True)


@pytest.mark.parametrize("verdict", ["needs_work", "inconclusive", "regressed", "cheated", "", "None"])
def test_only_converged_may_be_promoted(fields: dict[str, str], verdict: str) -> None:
    with pytest.raises(ConsentRefused, match="only converged"):
        judge(sign(approval(fields), ANNA), verdict=verdict)


def test_inconclusive_needs_the_operators_policy_and_a_reason(fields: dict[str, str]) -> None:
    rules = policy(accept_inconclusive=True)
    judge(sign(approval(fields), ANNA), rules, verdict="inconclusive")
    with pytest.raises(ConsentRefused, match="only converged"):
        judge(sign(approval(fields, reason=" "), ANNA), rules, verdict="inconclusive")


@pytest.mark.parametrize("name", list(FILES))
def test_every_file_of_the_bundle_is_hashed(tmp_path: Path, fields: dict[str, str], name: str) -> None:
    good = approval(fields)
    path = tmp_path / "bundle" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BundleRefused, match=name):
        check(tmp_path / "bundle", good)


@pytest.mark.parametrize("field", list(FILES.values()))
def test_a_hash_that_differs_in_its_last_digit_alone_is_another_hash(
    tmp_path: Path, fields: dict[str, str], field: str
) -> None:
    last = "0" if fields[field][-1] != "0" else "1"
    with pytest.raises(BundleRefused, match=field):
        check(tmp_path / "bundle", approval({**fields, field: fields[field][:-1] + last}))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("candidate.json", "image"),
        ("candidate.json", "base_image"),
        ("candidate.json", "commit"),
        ("candidate.json", "diff_sha256"),
        ("candidate.json", "batch_digest"),
        ("report.json", "candidate_digest"),
        ("report.json", "candidate_image"),
        ("report.json", "baseline_image"),
        ("report.json", "batch_digest"),
    ],
)
def test_objects_that_belong_to_another_candidate_are_refused(tmp_path: Path, name: str, key: str) -> None:
    mixed = contents()
    changed = mixed[name]
    assert isinstance(changed, dict)
    changed[key] = "sha256:" + "f" * 64
    if name == "candidate.json":
        report = mixed["report.json"]
        assert isinstance(report, dict)
        report["candidate_digest"] = digest(changed)
    fields = write_bundle(tmp_path / "mixed", mixed)
    with pytest.raises(BundleRefused, match=key):
        check(tmp_path / "mixed", approval(fields))


def test_links_and_missing_files_are_not_taken_in(tmp_path: Path, fields: dict[str, str]) -> None:
    folder = tmp_path / "bundle"
    (folder / "diff.patch").unlink()
    with pytest.raises(BundleRefused, match=r"diff\.patch"):
        take_in(folder, tmp_path / "held")
    (folder / "diff.patch").symlink_to("/etc/passwd")
    with pytest.raises(BundleRefused, match=r"diff\.patch"):
        take_in(folder, tmp_path / "held")
    assert list(tmp_path.iterdir()) == [folder]


def test_growth_is_read_from_the_capability_diff(tmp_path: Path) -> None:
    grown = contents()
    grown["capability_diff.json"] = {"added": ["git/push"]}
    write_bundle(tmp_path / "grown", grown)
    assert capability_growth(tmp_path / "grown")


def test_growth_that_people_were_not_shown_is_refused(tmp_path: Path) -> None:
    shown = contents()
    shown["capability_diff.json"] = {"added": ["network:ssl"], "removed": []}
    write_bundle(tmp_path / "shown", shown)
    assert capability_growth(tmp_path / "shown", ["network:ssl"])
    with pytest.raises(BundleRefused, match="also gained network:socket"):
        capability_growth(tmp_path / "shown", ["network:ssl", "network:socket"])


def test_a_persons_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "anna.pem"
    registered = create_person_key(path, "correct horse")
    assert b"ENCRYPTED" in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert public_text(unlock(path, "correct horse").public_key()) == registered
    for wrong in ("wrong horse", ""):
        with pytest.raises(KeyRefused, match="passphrase"):
            unlock(path, wrong)
    with pytest.raises(KeyRefused, match="exists"):
        create_person_key(path, "another one")
    with pytest.raises(KeyRefused, match="8 characters"):
        create_person_key(tmp_path / "short.pem", "short")
    with pytest.raises(KeyRefused, match="not found"):
        unlock(tmp_path / "none.pem", "x")


def test_the_machines_key_is_made_once(tmp_path: Path) -> None:
    first, second = machine_key(tmp_path / "k.pem"), machine_key(tmp_path / "k.pem")
    assert first.public_key() == second.public_key()
    (tmp_path / "bad.pem").write_text("no key")
    with pytest.raises(KeyRefused, match="not a private key"):
        machine_key(tmp_path / "bad.pem")


@given(st.text(max_size=60))
def test_whatever_is_registered_as_a_key_never_verifies_by_accident(text: str) -> None:
    fields = dict.fromkeys(FILES.values(), "sha256:" + "0" * 64)
    assert not signed_by(approval(fields), text, text)
    with pytest.raises(KeyRefused):
        public_key(text)
