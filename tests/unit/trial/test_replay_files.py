"""What a candidate leaves behind is hostile: whatever its bytes, reading it never raises."""

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trial.replay import _read_coverage, read_events

lines = st.binary(max_size=40) | st.sampled_from([b'{"kind":"a"}', b"[" * 100_000, b'"text"', b"", b"\xff"])


@given(st.lists(lines, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_are_the_lines_that_are_objects(tmp_path: Path, written: list[bytes]) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(written))
    events = read_events(path)
    assert all(isinstance(event, dict) for event in events)
    assert len([event for event in events if event == {"kind": "a"}]) >= written.count(b'{"kind":"a"}')


@given(
    st.dictionaries(
        st.text(max_size=3), st.lists(st.integers() | st.text(max_size=2), max_size=3) | st.none()
    )
    | st.integers()
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_coverage_is_numbers_by_file_or_nothing(tmp_path: Path, value: object) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(value))
    covered = _read_coverage(path)
    assert (covered is None) == (not isinstance(value, dict))
    for numbers in (covered or {}).values():
        assert all(isinstance(number, int) for number in numbers)


def test_missing_folders_and_special_names_are_nothing(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none") == ()
    assert read_events(tmp_path) == ()
    assert read_events(Path("/dev/null/events.jsonl")) == ()
    assert _read_coverage(tmp_path) is None
