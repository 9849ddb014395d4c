"""What HAProxy is given to read, and what is read from its log."""

import os
from pathlib import Path

import pytest

from promote.edge import EdgeConfig
from promote.gate import GateState, Target, TurnMark
from promote.haproxy import HAProxyEdge, mark_of
from promote.haproxy_files import write_files
from promote.wire import Unreachable


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("7 3 12.500 200 --", TurnMark(7, 3, 200, 12.5)),
        ("7 3 12.500 404 --", TurnMark(7, 3, 404, 12.5)),
        ("7 3 12.500 500 --", TurnMark(7, 3, 500, 12.5)),
        ("7 3 12.500 200 SD", TurnMark(7, 3, 0, 12.5)),
        ("7 3 12.500 425 SC", None),
        ("7 3 12.500 425 SH", TurnMark(7, 3, 0, 12.5)),
        ("7 3 12.500 425 --", TurnMark(7, 3, 0, 12.5)),
        ("7 3 12.500 504 sH", TurnMark(7, 3, 0, 12.5)),
        ("7 3 12.500 200 CD", None),
        ("- 200 --", None),
        ("", None),
    ],
)
def test_only_a_whole_reply_has_a_status(line: str, mark: TurnMark | None) -> None:
    assert mark_of(line) == mark


@pytest.mark.parametrize("held", [True, False])
def test_haproxys_files_say_what_the_state_says(tmp_path: Path, held: bool) -> None:
    config = EdgeConfig(
        port=0, control=tmp_path / "run" / "c.sock", state_file=tmp_path / "edge" / "state.json"
    )
    write_files(config, 5, 80)
    assert (config.state_file.parent / "gate.map").read_text() == "hold 1\nepoch 0\n"
    GateState(held=held, target=Target("/run/agent-4/agent.sock", 4, "d")).save(config.state_file)
    folder = write_files(config, 5, 80)
    assert (folder / "gate.map").read_text() == f"hold {int(held)}\nepoch 4\n"
    assert os.readlink(folder / "live.sock") == "/run/agent-4/agent.sock"
    assert 'unix@"../run/c.sock" mode 600' in (folder / "haproxy.cfg").read_text()


def test_the_file_knows_before_haproxy_is_told(tmp_path: Path) -> None:
    """So that one that is killed, or down, comes up as it was asked to be."""
    file, target = tmp_path / "state.json", Target("/run/agent-4/agent.sock", 4, "d")
    edge = HAProxyEdge(tmp_path / "nobody.sock", file)
    for ask, state in (
        (lambda: edge.point_at(target), (True, target)),
        (edge.release, (False, target)),
        (edge.hold, (True, target)),
    ):
        with pytest.raises(Unreachable):
            ask()
        found = GateState.load(file)
        assert (found.held, found.target) == state
    assert os.readlink(tmp_path / "live.sock") == target.socket


def test_a_manifests_words_stay_one_word_of_the_configuration(tmp_path: Path) -> None:
    path = '/a"b$c\\d'
    config = EdgeConfig(port=0, control=tmp_path / "c", state_file=tmp_path / "s", turn_paths=(path,))
    assert '{ path "/a\\"b\\$c\\\\d" }' in (write_files(config, 5, 80) / "haproxy.cfg").read_text()
    for changes in ({"turn_paths": ("/a\nb",)}, {"health_paths": ("/a b",)}, {"request_id_header": "x: y"}):
        with pytest.raises(ValueError, match="pattern"):
            EdgeConfig.model_validate({**config.model_dump(), **changes})
