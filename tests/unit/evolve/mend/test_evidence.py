"""What runs say: results, reports, spectra, suspects; and a workspace that comes back as it was."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.mend.candidates import ranked
from evolve.mend.index import build_index
from evolve.mend.localise import ochiai, read_spectrum, read_suspects, statement_scores, with_tracebacks
from evolve.mend.outcome import Outcome, read_junit, read_results
from evolve.mend.source import Module
from evolve.mend.workspace import Workspace, copy_tree, listing


def test_junit_is_read_and_documents_with_a_type_are_not(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="x"/><testcase name="y"><failure/></testcase>'
        '<testcase classname="a" name="z"><error/></testcase></testsuite></testsuites>'
    )
    assert read_junit(report) == {"a::x": True, "y": False, "a::z": False}
    report.write_text('<!DOCTYPE a [<!ENTITY b "c">]><testsuite><testcase name="&b;"/></testsuite>')
    assert read_junit(report) == {}
    assert read_junit(tmp_path / "missing.xml") == {}


@given(st.binary(max_size=200))
def test_no_report_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    read_junit(path), read_results(path), read_spectrum(path)


def test_half_a_line_of_results_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text('{"id": "a", "outcome": "passed"}\n{"id": "b", "outcome": "failed"}\n{"id": "c", "outc')
    assert read_results(path) == {"a": True, "b": False}


def test_lines_that_only_failing_tests_run_are_the_most_suspicious() -> None:
    spectrum = {"": {("m.py", 1)}, "good": {("m.py", 2)}, "bad": {("m.py", 2), ("m.py", 3)}}
    scores = ochiai(spectrum, ["bad"])
    assert scores["m.py", 3] == 1.0
    assert scores["m.py", 3] > scores["m.py", 2] > scores["m.py", 1] > 0


def test_a_definition_inherits_suspicion_from_its_uses() -> None:
    module = Module("m.py", b"LIMIT = 3\nOTHER = 4\n\ndef f(a=LIMIT):\n    return a > LIMIT\n")
    scores = {
        (line): score for score, _, line, _ in statement_scores(build_index([module]), {("m.py", 5): 1.0})
    }
    assert scores[5] == 1.0
    assert scores[4] == scores[1] == pytest.approx(0.6)
    assert scores[2] == 0.0


def test_lines_named_by_the_failure_come_first(tmp_path: Path) -> None:
    module = Module("m.py", b"def f(a):\n    b = a\n    return b[0]\n")
    outcome = Outcome(1, 0.1, {}, f'  File "{tmp_path}/m.py", line 3, in f\nIndexError\n')
    scores = with_tracebacks({("m.py", 2): 0.5, ("m.py", 3): 0.5}, outcome, str(tmp_path), {"m.py": module})
    assert scores["m.py", 3] > scores["m.py", 2]


def test_bad_suspects_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "suspects"
    path.write_text('{"file": "m.py", "line": 3, "score": 0.5}\n\n{"file": "m.py"}\n')
    with pytest.raises(ValueError, match=":3:"):
        read_suspects(path)


def test_one_statement_does_not_starve_the_others_and_the_unsuspected_come_last() -> None:
    source = "".join(f"def f{n}(a, b, c):\n    return a[b] + c * {n}\n\n" for n in range(6))
    module = Module("m.py", source.encode())
    suspects = {("m.py", 2): 1.0, ("m.py", 5): 1.0}
    from collections import Counter

    order = [
        c.edit.line
        for c, _ in zip(ranked(build_index([module]), suspects, Counter()), range(40), strict=False)
    ]
    assert {2, 5} <= set(order[:6])
    assert not {8, 11, 14, 17} & set(order)


def test_edits_of_a_line_that_hangs_wait() -> None:
    from collections import Counter

    source = "".join(f"def f{n}(a, b, c):\n    return a[b] + c * {n}\n\n" for n in range(2))
    module = Module("m.py", source.encode())
    hung: Counter[tuple[str, int]] = Counter()
    stream = ranked(build_index([module]), {("m.py", 2): 1.0, ("m.py", 5): 1.0}, hung)
    next(stream)
    hung["m.py", 2] = 6
    assert {next(stream).edit.line for _ in range(10)} == {5}


def test_a_workspace_comes_back_as_it_was(tmp_path: Path) -> None:
    root, backup = tmp_path / "root", tmp_path / "backup"
    (root / "deep").mkdir(parents=True)
    (root / "a.py").write_text("a = 1\n")
    (root / "deep" / "b.py").write_text("b = 1\n")
    (root / "link").symlink_to("a.py")
    copy_tree(root, backup)
    before, workspace = listing(root), Workspace(root, backup)
    workspace.write({"a.py": b"a = 2\n"})
    assert (root / "a.py").stat().st_mtime != before.files["a.py"][1] / 1e9
    (root / "deep" / "b.py").unlink()
    (root / "deep").rmdir()
    (root / "new").mkdir()
    (root / "new" / "c").write_text("c")
    (root / "__pycache__").mkdir()
    os.replace(root / "link", root / "moved")
    workspace.restore(caches=True)
    assert listing(root) == before
    assert (root / "a.py").read_text() == "a = 1\n"


def test_candidates_of_equal_size_never_share_a_time(tmp_path: Path) -> None:
    root, backup = tmp_path / "root", tmp_path / "backup"
    root.mkdir()
    (root / "a.py").write_text("a = 1\n")
    copy_tree(root, backup)
    workspace, seconds = Workspace(root, backup), set()
    for value in (2, 3, 4):
        workspace.write({"a.py": b"a = %d\n" % value})
        seconds.add(int((root / "a.py").stat().st_mtime))
        workspace.restore()
    assert len(seconds) == 3
