"""What `evolve doctor` says about the people who must agree, and about what models cost."""

from pathlib import Path

import pytest

from evolve.cli.doctor import check_approvers, check_prices
from evolve.settings import FILE_NAME, ConsentSection, load_settings


def section(policy: str, needed: int, **roles: str) -> ConsentSection:
    people = {name: {"public_key": "", "roles": [role]} for name, role in roles.items()}
    return ConsentSection.model_validate({"policy": policy, "approvers_needed": needed, "people": people})


@pytest.mark.parametrize(
    ("consent", "enough"),
    [
        (section("separate", 1), (False, False)),
        (section("separate", 1, ana="approver"), (False, False)),
        (section("separate", 1, ana="approver", bea="viewer"), (False, False)),
        (section("separate", 1, ana="operator", bea="approver"), (True, False)),
        (section("separate", 1, bea="approver", cleo="admin"), (True, True)),
        (section("separate", 3, bea="approver", cleo="admin"), (False, False)),
        (section("solo", 1, ana="approver"), (True, False)),
    ],
)
def test_fewer_approvers_than_the_policy_asks_for_are_a_warning(
    consent: ConsentSection, enough: tuple[bool, bool]
) -> None:
    found = check_approvers(consent, "ana")
    assert tuple(finding.ok for finding in found) == enough
    assert {finding.severity for finding in found} == {"warning"}
    assert all(finding.ok or "`evolve people add`" in finding.detail for finding in found)


def test_a_model_without_a_price_is_told(tmp_path: Path) -> None:
    given = "usd_micros_per_million_input = 0\nusd_micros_per_million_output = 0\n"
    (tmp_path / FILE_NAME).write_text(
        '[model]\nbase_url = "http://127.0.0.1:9"\n'
        f'[coders.priced]\nargv = ["x"]\nbase_url = "http://127.0.0.1:9"\n{given}'
        '[coders.plain]\nargv = ["x"]\n'
    )
    found = {one.name: one.ok for one in check_prices(load_settings(tmp_path))}
    assert found == {"price.model": False, "price.coders.priced": True}
