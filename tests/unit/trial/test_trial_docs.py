"""The documents name what the code has."""

import typing
from pathlib import Path

import pytest

from trial import schemas
from trial.graders.config import GraderConfig
from trial.measure import VerdictPolicy
from trial.report import VerdictWord
from trial.verdict import CHEATS, REQUIRED

DOCS = Path(__file__).parents[3] / "docs"


def words(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [*REQUIRED, *CHEATS, *VerdictPolicy.model_fields, *typing.get_args(VerdictWord)]
)
def test_verdict_page(name: str) -> None:
    assert f"`{name}`" in words("verdict.md")


def kinds() -> list[tuple[str, str]]:
    union = typing.get_args(typing.get_args(GraderConfig)[0])
    return [
        (typing.get_args(model.model_fields["kind"].annotation)[0], field.alias or key)
        for model in union
        for key, field in model.model_fields.items()
    ]


@pytest.mark.parametrize(("kind", "key"), kinds())
def test_grader_page(kind: str, key: str) -> None:
    assert f"| `{kind}` |" in words("graders.md")
    assert f"`{key}" in words("graders.md") or key == "kind"


def test_published_schema_is_the_models() -> None:
    assert (DOCS / "schemas" / schemas.FILE).read_text(encoding="utf-8") == schemas.rendered()
