"""Sets of points in the library: which of them hold."""

import json
from pathlib import Path
from typing import Any

from pareto_points import NOTHING, point

from workflows.codec import digest, to_json
from workflows.points import ParetoSet, write_points
from workflows.shipped import library, point_sets


def shelf(folder: Path, **files: Any) -> Path:
    (folder / "w.json").write_text(json.dumps(to_json(NOTHING)))
    for name, table in files.items():
        (folder / f"{name}.points.json").write_text(table if isinstance(table, str) else json.dumps(table))
    return folder


def made(of: str) -> dict[str, object]:
    return write_points(ParetoSet(of, (point(0.9, 1, 5), point(0.5, 1, 1, "b"))))


def test_a_set_belongs_to_the_workflow_that_it_was_made_of(tmp_path: Path) -> None:
    folder = shelf(tmp_path, w=made(digest(NOTHING)))
    assert library(folder) == (NOTHING,)
    found = point_sets(folder)
    assert [one.point.accuracy.value for one in found.configured["w"]] == [0.9, 0.5]
    assert all(one.workflow == NOTHING for one in found.configured["w"])
    assert found.ignored == ()


def test_what_does_not_hold_is_left_out_and_said(tmp_path: Path) -> None:
    other = made(digest(NOTHING))
    other["points"][0]["workflow"] |= {"inputs": {"x": {}}}  # type: ignore[index]
    folder = shelf(tmp_path, deep="[" * 100_000, old=made("sha256:0"), other=other, torn="{")
    found = point_sets(folder)
    assert found.configured == {}
    assert [line.partition(": ")[0].split(".")[0] for line in found.ignored] == [
        "deep",
        "old",
        "other",
        "torn",
    ]
    assert "compile it again" in found.ignored[1]
    assert "other inputs" in found.ignored[2]
