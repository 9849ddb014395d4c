"""Signing in by Argon2id hashes: what is stored, what fits, and what a name that nobody has gives away."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf import argon2
from web_world import CHEAP, PASSPHRASE, make_home

from evolve import passwords
from evolve.errors import BadInput, NeedsConsent, NotFound
from evolve.home import add_person, renew_hash
from evolve.passwords import Cost, StoredHashes, hash_password
from evolve.settings import Person, load_settings


def person(sign_in: str = "") -> Person:
    return Person.model_validate({"public_key": "AAAA", "sign_in": sign_in})


def test_a_hash_names_its_costs_and_is_salted() -> None:
    assert hash_password("x").startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert hash_password("x", CHEAP) != hash_password("x", CHEAP)
    person(hash_password("x", CHEAP))


@pytest.mark.parametrize("password", ["right", "", "Ünïcode ключ", "\ud800", "x" * 1000])
def test_only_the_same_password_fits(password: str) -> None:
    knows = StoredHashes(lambda: {"ada": person(hash_password(password, CHEAP))}, CHEAP)
    assert knows("ada", password)
    for wrong in (password + "x", "wrong", "\0"):
        assert not knows("ada", wrong)
    assert not knows("eve", password)


def test_people_are_asked_for_anew() -> None:
    people = {"ada": person(hash_password("first", CHEAP))}
    knows = StoredHashes(lambda: people, CHEAP)
    assert knows("ada", "first")
    people["ada"] = person(hash_password("second", CHEAP))
    assert (knows("ada", "first"), knows("ada", "second")) == (False, True)
    people["ada"] = person()
    assert not knows("ada", "second")
    assert not knows("ada", "")


def test_an_unknown_name_costs_one_hash_as_a_known_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same work, not the same time: counted, for a shared machine's clock says nothing."""
    costs: list[str] = []

    class Counting:
        @staticmethod
        def verify_phc_encoded(password: bytes, stored: str) -> None:
            costs.append(stored.split("$")[3])
            argon2.Argon2id.verify_phc_encoded(password, stored)

        def __new__(cls, **values: object) -> argon2.Argon2id:  # type: ignore[misc]
            return argon2.Argon2id(**values)  # type: ignore[arg-type]

    monkeypatch.setattr(passwords, "Argon2id", Counting)
    cost = Cost(memory_kib=128, iterations=2, lanes=1)
    knows = StoredHashes(lambda: {"ada": person(hash_password("right", cost)), "new": person()}, cost)
    for name, password in (("ada", "right"), ("ada", "wrong"), ("nobody", "right"), ("new", ""), ("", "")):
        costs.clear()
        knows(name, password)
        assert costs == ["m=128,t=2,p=1"], name


@pytest.mark.parametrize(
    "text",
    [
        "correct horse",
        "$argon2i$v=19$m=65536,t=3,p=4$c29tZXNhbHQxMjM0NTY$c29tZWhhc2hzb21laGFzaA",
        "$argon2id$v=19$m=99999999,t=3,p=4$c29tZXNhbHQxMjM0NTY$c29tZWhhc2hzb21laGFzaA",
        "$2b$12$abcdefghijklmnopqrstuv",
    ],
)
def test_what_is_no_hash_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    home = tmp_path / "home"
    make_home(home)
    path = home / "evolve.toml"
    known = load_settings(home).consent.people["ada"].sign_in.get_secret_value()
    path.write_text(path.read_text().replace(known, text))
    with pytest.raises(BadInput, match=r"consent\.people\.ada\.sign_in: .*evolve people hash") as failed:
        load_settings(home)
    assert text not in failed.value.message


def test_a_person_is_added_with_a_hash_and_it_can_be_renewed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_home(home)
    add_person(load_settings(home), "ana", ("approver",), "a long passphrase")
    first = load_settings(home)
    assert StoredHashes(lambda: first.consent.people)("ana", "a long passphrase")
    assert "argon2" not in first.model_dump_json()
    with pytest.raises(NeedsConsent, match="wrong passphrase"):
        renew_hash(first, "ana", "another passphrase")
    with pytest.raises(NotFound, match="not registered"):
        renew_hash(first, "eve", "a long passphrase")
    for name, passphrase in (("ada", PASSPHRASE), ("ana", "a long passphrase")):
        renew_hash(first, name, passphrase)
    second = load_settings(home)
    assert second.model_dump_json() == first.model_dump_json()
    for name, passphrase in (("ada", PASSPHRASE), ("ana", "a long passphrase")):
        kept, renewed = (s.consent.people[name].sign_in.get_secret_value() for s in (first, second))
        assert kept != renewed
        assert StoredHashes(lambda: second.consent.people)(name, passphrase)
    untouched = [s.consent.people["vera"].sign_in.get_secret_value() for s in (first, second)]
    assert untouched[0] == untouched[1]
