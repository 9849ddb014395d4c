"""What `evolve doctor` says about the people who must agree."""

import pytest

from evolve.cli.doctor import check_approvers
from evolve.settings import ConsentSection


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
