"""Windows that could not show health are refused, and the published schemas are the models."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from promote.approval import SignedApproval
from promote.promoter import promoter_digest
from promote.records import SwapRecord
from promote.settings import PromoterConfig, Timing

DOCS = Path(__file__).resolve().parents[3] / "docs" / "schemas"
seconds = st.floats(0.01, 500)


@settings(max_examples=1000)
@given(boot=seconds, interval=st.floats(0, 60), passes=st.integers(1, 20), window=seconds)
def test_a_window_shorter_than_health_takes_is_refused(
    boot: float, interval: float, passes: int, window: float
) -> None:
    values = {
        "boot_seconds": boot,
        "probe_interval": interval,
        "probe_passes": passes,
        "probe_window": window,
    }
    if window < boot + interval * passes:
        with pytest.raises(ValidationError, match="can't show health"):
            Timing.model_validate(values)
    else:
        Timing.model_validate(values)


def test_a_bake_limit_under_the_shortest_bake_is_refused() -> None:
    with pytest.raises(ValidationError, match="shortest bake"):
        Timing(bake_limit_seconds=9.0)


def test_no_setting_shortens_the_bake_and_unknown_keys_are_errors(tmp_path: Path) -> None:
    base = {
        "home": str(tmp_path / "promote"),
        "checkpoints": str(tmp_path / "marks"),
        "checkpoint_key": str(tmp_path / "key"),
        "socket": str(tmp_path / "s"),
        "edge_control": str(tmp_path / "e"),
        "runtime_home": str(tmp_path),
    }
    PromoterConfig.model_validate(base)
    for name in ("bake_seconds", "bake_turns", "bake_floor", "colour"):
        with pytest.raises(ValidationError, match=name):
            PromoterConfig.model_validate({**base, name: 1})
    with pytest.raises(ValidationError, match="another folder"):
        PromoterConfig.model_validate({**base, "checkpoints": base["home"]})


@pytest.mark.parametrize(("name", "model"), [("approval", SignedApproval), ("swap_record", SwapRecord)])
def test_the_published_schema_is_the_model(name: str, model: type[BaseModel]) -> None:
    published = json.loads((DOCS / f"{name}.schema.json").read_text())
    assert {key: value for key, value in published.items() if key not in ("$schema", "$id")} == (
        model.model_json_schema()
    )


def test_the_promoters_digest_is_stable() -> None:
    assert promoter_digest().startswith("sha256:")
