"""The published formats are the ones that the code uses."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from evidence.canonical import new_id
from evidence.schemas import event_problem, event_schema
from evidence.schemas.__main__ import published, rendered

DOCS = Path(__file__).parents[3] / "docs" / "schemas"
PACKAGED = Path(__file__).parents[3] / "evidence" / "schemas" / "event.schema.json"
KINDS = event_schema()["properties"]["kind"]["enum"]


@pytest.mark.parametrize("name", sorted(published()))
def test_published_schemas_are_not_stale(name: str) -> None:
    assert (DOCS / name).read_text() == rendered(published()[name]), (
        "run `python -m evidence.schemas docs/schemas`"
    )


def test_the_event_schema_in_the_package_is_the_published_one() -> None:
    assert PACKAGED.read_bytes() == (DOCS / "event.schema.json").read_bytes()


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 700),
    st.floats(allow_nan=False),
    st.sampled_from(["", "down", "/p", "allow"]),
    st.sampled_from([{}, {"role": "user"}, [{"role": "user"}], [{"role": 1}], ["x", 1]]),
)
FIELDS = sorted({name for part in event_schema()["allOf"] for name in part["then"].get("properties", ())})


@settings(max_examples=250, deadline=None)
@given(
    kind=st.sampled_from([*KINDS, "other", 3]),
    base=st.dictionaries(st.sampled_from(["v", "id", "ts", "session", "turn", "seq"]), VALUES, max_size=2),
    fields=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8),
)
def test_the_quick_check_agrees_with_the_schema(
    kind: Any, base: dict[str, Any], fields: dict[str, Any]
) -> None:
    event = (
        {"v": 1, "id": new_id(), "ts": 1.5, "session": "s", "turn": "t", "seq": 0, "kind": kind}
        | fields
        | base
    )
    assert (event_problem(event) == "") == Draft202012Validator(event_schema()).is_valid(event)


def test_good_events_pass() -> None:
    event = {"v": 1, "id": new_id(), "ts": 1, "session": "s", "turn": "t", "seq": 0, "kind": "turn_ended"}
    assert event_problem(event | {"status": 200, "reply": None, "ms": 1, "timed_out": False}) == ""
    assert "status" in event_problem(event | {"reply": None, "ms": 1, "timed_out": False})
