"""One clear line when the kernel says no."""

from pathlib import Path

import pytest

from containers.diagnosis import explain, forbidding_switch
from containers.engine import get_runtime
from containers.runtime import EngineUnavailable

SAID = "bwrap: No permissions to creating new namespace, likely because the kernel does not allow it"


def kernel(root: Path, settings: dict[str, str]) -> Path:
    for name, value in settings.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(value + "\n")
    return root


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"user/max_user_namespaces": "0"}, "sysctl -w user.max_user_namespaces=15000"),
        ({"kernel/unprivileged_userns_clone": "0"}, "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "0", "user/max_user_namespaces": "96365"},
            "--cap-add SYS_ADMIN",
        ),
    ],
)
def test_the_cause_and_the_way_out_are_named(tmp_path: Path, settings: dict[str, str], way_out: str) -> None:
    line = explain(SAID, kernel(tmp_path, settings))
    assert line is not None
    assert way_out in line
    assert "\n" not in line


def test_other_trouble_is_not_mistaken_for_a_refusal(tmp_path: Path) -> None:
    assert explain("bwrap: Can't find source path /gone: No such file or directory", tmp_path) is None
    assert forbidding_switch(tmp_path) is None


@pytest.mark.parametrize("name", ["docker", "gvisor"])
def test_an_engine_that_is_not_there_is_never_replaced_by_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineUnavailable, match=name):
        get_runtime(name, tmp_path)
