"""A cap on money needs a price: a run that may ask a model of unknown price is refused."""

from pathlib import Path

import pytest

from evolve.errors import BadInput
from evolve.prices import prices, require_prices
from evolve.settings import FILE_NAME, load_settings
from trial.gateway import Price

BOTH = "usd_micros_per_million_input = 0\nusd_micros_per_million_output = 15_000_000\n"
HALF = "usd_micros_per_million_input = 3\n"
MODEL = '[model]\nbase_url = "http://127.0.0.1:9"\n'
CODER = '[coders.c]\nargv = ["sh"]\nbase_url = "http://127.0.0.1:9"\n'


@pytest.mark.parametrize(
    ("text", "coder", "table"),
    [
        (MODEL, "mend", "[model]"),
        (MODEL + HALF, "mend", "[model]"),
        (CODER, "c", "[coders.c]"),
        (CODER + HALF, "c", "[coders.c]"),
        (MODEL + BOTH + CODER, "mend,c", "[coders.c]"),
        (CODER, "mend", ""),
        (CODER + BOTH, "c", ""),
        (MODEL + BOTH, "mend", ""),
        ('[coders.c]\nargv = ["sh"]\n', "c", ""),
    ],
)
def test_whoever_may_be_asked_has_a_price(tmp_path: Path, text: str, coder: str, table: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    settings = load_settings(tmp_path)
    run = settings.run.model_copy(update={"coder": coder})
    if not table:
        require_prices(settings, run)
        return
    with pytest.raises(BadInput) as refused:
        require_prices(settings, run)
    assert table in refused.value.message
    assert "usd_micros_per_million_input" in refused.value.hint


def test_nothing_is_a_price(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(MODEL + BOTH)
    assert prices(load_settings(tmp_path).model) == {"*": Price(input=0, output=15_000_000)}
