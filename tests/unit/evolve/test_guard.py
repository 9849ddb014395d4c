"""Each rule of the guard refuses what it is for, by name, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers.substrate import SubstrateManifest
from evolve.guard import judge
from evolve.settings import GuardSection
from evolve.worktree import Change

MANIFEST = SubstrateManifest(name="x", command=("python", "-m", "x"), editable=("app/**/*.py", "flows/**"))


def change(path: str, **values: object) -> Change:
    fields: dict[str, object] = {
        "status": "M",
        "old_mode": "100644",
        "new_mode": "100644",
        "added": 1,
        "removed": 1,
        "binary": False,
        "size": 10,
    }
    return Change(path=path, **{**fields, **values})  # type: ignore[arg-type]


def broken_rules(*changes: Change) -> set[str]:
    checks = judge(list(changes), MANIFEST, GuardSection())
    return {check.name.removeprefix("guard.") for check in checks if not check.ok}


def test_an_ordinary_edit_passes_every_rule() -> None:
    assert broken_rules(change("app/core/a.py"), change("flows/x.json")) == set()
    assert broken_rules(change("app/contest.py"), change("app/grading.py"), change("app/latest.py")) == set()


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("changes_something", []),
        ("paths_inside", [change("app/../../etc/x.py")]),
        ("paths_inside", [change("/etc/passwd")]),
        ("paths_inside", [change("app/.git/hooks/pre-commit")]),
        ("editable_only", [change("setup.py")]),
        ("nothing_protected", [change("substrate.toml")]),
        ("nothing_protected", [change(".gitattributes")]),
        ("nothing_protected", [change("requirements.lock")]),
        ("no_tests_touched", [change("app/tests/test_a.py", new_mode="000000")]),
        ("no_tests_touched", [change("app/test_a.py")]),
        ("no_tests_touched", [change("app/a_test.py")]),
        ("no_tests_touched", [change("app/Tests.py")]),
        ("no_grader_touched", [change("app/graders/stock.py")]),
        ("no_grader_touched", [change("app/Graders/stock.py")]),
        ("no_grader_touched", [change("app/grader.py")]),
        ("no_start_up_hook", [change("app/sitecustomize.py")]),
        ("no_start_up_hook", [change("app/sitecustomize/__init__.py")]),
        ("no_start_up_hook", [change("app/conftest.py")]),
        ("no_start_up_hook", [change("app/x.pth")]),
        ("no_symlink", [change("app/a.py", new_mode="120000")]),
        ("no_submodule", [change("app/a", new_mode="160000")]),
        ("no_submodule", [change(".gitmodules")]),
        ("no_mode_change", [change("app/a.py", new_mode="100755")]),
        ("no_mode_change", [change("app/new.py", old_mode="000000", new_mode="100755")]),
        ("no_binary", [change("app/a.py", binary=True)]),
        ("no_lone_return", [change("app/a.py", lone_returns=True)]),
        ("file_size", [change("app/a.py", size=10_000_000)]),
        ("few_files", [change(f"app/{n}.py") for n in range(40)]),
        ("few_lines", [change("app/a.py", added=4000)]),
    ],
)
def test_a_rule_refuses_by_name(rule: str, changes: list[Change]) -> None:
    assert rule in broken_rules(*changes)


@given(st.text(max_size=40))
def test_only_editable_paths_ever_pass(path: str) -> None:
    if broken_rules(change(path)) == set():
        assert path.startswith(("app/", "flows/"))
        assert ".." not in path.split("/")
