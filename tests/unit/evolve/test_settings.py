"""What is in force: file, environment, refusals that name the place, secrets that stay hidden."""

from pathlib import Path

import pytest

from evolve.errors import BadInput
from evolve.settings import FILE_NAME, load_settings


def load(folder: Path, text: str = "") -> object:
    (folder / FILE_NAME).write_text(text)
    return load_settings(folder)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("colour = 1", "colour"),
        ("[run]\niteration = 3", "run.iteration"),
        ("[run]\niterations = 0", "run.iterations"),
        ("[verdict]\nalpha = 0.9", "verdict.alpha"),
        ("[verdict]\nmargins = 0.1", "verdict.margins"),
        ("[tools.shop]\ncommand = 'x'\nargs = [1]", "tools.shop.args.0"),
        ("[coders.x]\nargv = ['a']\nshell = true", "coders.x.shell"),
        ("[consent.people.ana]\npublic_key = 'x'\nroles = ['king']", "consent.people.ana.roles.0"),
        ("[edge]\nhost = '0.0.0.0'", "edge.host"),
        ("[swap]\nbake_seconds = 1", "swap.bake_seconds"),
        ("[[rules]]\nname = 'x'", "rules.0.file"),
        ("[[graders]]\nname = 'x'\nkind = 'oracle'", "graders.0"),
        ("runtime = 'podman'", "runtime"),
        ("= 3", "not TOML"),
    ],
)
def test_a_wrong_key_is_named_with_its_path(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, text)
    assert f"{tmp_path / FILE_NAME}: {where}" in caught.value.message
    assert "\n" not in caught.value.message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="not TOML"):
        load_settings(tmp_path)


def test_the_environment_wins_also_deep_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_text("[run]\niterations = 2\nmax_usd = 1\n[tools.shop]\ncommand = 'a'\n")
    monkeypatch.setenv("EVOLVE_RUN__ITERATIONS", "7")
    monkeypatch.setenv("EVOLVE_TOOLS__SHOP__COMMAND", "b")
    monkeypatch.setenv("EVOLVE_GUARD__PROTECTED", '["*.sql"]')
    found = load_settings(tmp_path)
    assert (found.run.iterations, found.run.max_usd) == (7, 1)
    assert found.tools["shop"].command == "b"
    assert found.guard.protected == ("*.sql",)


@pytest.mark.parametrize(
    ("name", "value"),
    [("EVOLVE_RUN__ITERATION", "7"), ("EVOLVE_RUN__ITERATIONS", "many"), ("EVOLVE_TOOLS", "not json")],
)
def test_a_wrong_variable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput):
        load(tmp_path)


def test_home_is_the_callers_never_the_files(tmp_path: Path) -> None:
    assert load(tmp_path, "home = '/elsewhere'").home == tmp_path  # type: ignore[attr-defined]


def test_secrets_do_not_print(tmp_path: Path) -> None:
    text = """
database_url = "postgresql://u:hunter2@h/d"
redis_url = "redis://:hunter2@h"
[tools.shop]
command = "x"
env = { TOKEN = "hunter2" }
[coders.mine]
argv = ["x"]
env = { TOKEN = "hunter2" }
"""
    found = load(tmp_path, text)
    assert "hunter2" not in repr(found)
    assert "hunter2" not in found.model_dump_json()  # type: ignore[attr-defined]
    assert found.tools["shop"].env["TOKEN"].get_secret_value() == "hunter2"  # type: ignore[attr-defined]


def test_a_depth_fills_in_what_is_not_set_by_itself(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('[run]\ndepth = "deep"\ncandidates = 2\ncoder = "mend, codex"\n')
    found = load_settings(tmp_path).run
    assert (found.iterations, found.candidates, found.code_rounds, found.max_usd) == (8, 2, 3, 60.0)
    assert found.coders == ("mend", "codex")
    (tmp_path / FILE_NAME).write_text('[run]\ndepth = "endless"\n')
    with pytest.raises(BadInput, match=r"run\.depth"):
        load_settings(tmp_path)


def test_the_lightest_depth_is_what_stands_when_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("")
    said = load_settings(tmp_path).run
    (tmp_path / FILE_NAME).write_text('[run]\ndepth = "light"\n')
    assert load_settings(tmp_path).run == said
