"""The guard: what no candidate may do, judged from the commit's tree, never from a patch or from what a coder says.

A question with an answer and a reason, per rule. Nothing overrides it from inside a run.
"""

from pathlib import PurePosixPath

from pathspec import GitIgnoreSpec

from containers.substrate import SubstrateManifest
from evolve.settings import GuardSection
from evolve.worktree import Change
from trial.report import Check

START_UP_HOOKS = frozenset({"sitecustomize", "usercustomize", "conftest"})
"""Modules, or packages, that an interpreter or a test runner executes without being asked."""
GRADERS = frozenset({"grader", "graders"})
TESTS = frozenset({"test", "tests"})
TEST_SETTINGS = frozenset({"pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "noxfile.py"})
"""Files by which a test runner can be told to run nothing."""


def judge(changes: list[Change], manifest: SubstrateManifest, limits: GuardSection) -> list[Check]:
    """Every rule's answer, in a fixed order; the candidate passes when all are ok."""
    protected = GitIgnoreSpec.from_lines([*manifest.protected, *limits.protected])
    editable = GitIgnoreSpec.from_lines(manifest.editable)
    paths = [change.path for change in changes]
    touched = [c for c in changes if c.new_mode != "000000"]
    lines = sum(c.added + c.removed for c in changes)
    rules = (
        ("changes_something", [] if changes else ["the commit equals its base"]),
        ("paths_inside", [p for p in paths if _escapes(p)]),
        ("editable_only", [p for p in paths if not editable.match_file(p)]),
        ("nothing_protected", [p for p in paths if protected.match_file(p)]),
        ("no_tests_touched", [p for p in paths if _is_test(p)]),
        ("no_grader_touched", [p for p in paths if GRADERS & _names(p)]),
        ("no_start_up_hook", [p for p in paths if _is_start_up_hook(p)]),
        ("no_symlink", [c.path for c in touched if c.new_mode == "120000"]),
        ("no_submodule", [c.path for c in touched if c.new_mode == "160000" or c.path == ".gitmodules"]),
        ("no_mode_change", [c.path for c in touched if _mode_changed(c)]),
        ("no_binary", [c.path for c in touched if c.binary]),
        # What git counts and shows as one line may be thousands to whoever executes it.
        ("no_lone_return", [c.path for c in touched if c.lone_returns]),
        ("file_size", [c.path for c in touched if c.size > limits.max_file_bytes]),
        ("few_files", [f"{len(changes)} files"] if len(changes) > limits.max_files else []),
        ("few_lines", [f"{lines} lines"] if lines > limits.max_lines else []),
    )
    return [Check(name=f"guard.{name}", ok=not bad, reason=_reason(bad)) for name, bad in rules]


def _reason(bad: list[str]) -> str:
    shown = ", ".join(repr(item)[1:-1][:120] for item in bad[:5])
    return shown + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")


def _escapes(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts or ".git" in pure.parts or "\\" in path or "\0" in path


def _names(path: str) -> set[str]:
    """Every folder's and the file's own name, in lower case, without the last ending."""
    pure = PurePosixPath(path.lower())
    return {*pure.parts[:-1], pure.stem}


def _is_test(path: str) -> bool:
    own = PurePosixPath(path.lower())
    named = own.stem.startswith("test_") or own.stem.endswith("_test") or own.name in TEST_SETTINGS
    return named or bool(TESTS & _names(path))


def _is_start_up_hook(path: str) -> bool:
    return bool(START_UP_HOOKS & _names(path)) or PurePosixPath(path).suffix in (".pth", ".pyc", ".so")


def _mode_changed(change: Change) -> bool:
    if change.old_mode == "000000":
        return change.new_mode not in ("100644", "120000", "160000")
    return change.old_mode != change.new_mode and change.new_mode not in ("120000", "160000")
