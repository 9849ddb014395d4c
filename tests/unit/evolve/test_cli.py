"""How the commands speak: JSON alone, one envelope, closed kinds, exit codes, and no hostile text."""

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from web_population import add_population
from web_world import Book, World

sys.path.insert(0, str(Path(__file__).parents[1] / "evidence"))
from evidence_logs import Log

from containers.runtime import RuntimeBroken
from evidence.intake import intake
from evidence.store import StoreError
from evolve import runs, worktree
from evolve.cli import main as cli_main
from evolve.cli.output import print_fields, print_table, say
from evolve.errors import ERROR_KINDS, Broken, EvolveError
from evolve.home import create_home
from evolve.product import Product
from evolve.substrates import export_tiny
from evolve.tables import RunRow
from workflows.shipped import LIBRARY

HOSTILE = "\x1b[2J\x1b]0;owned\x07good\u202etxt\u200b[red]bold[/red]"


@dataclass
class Answer:
    code: int
    out: str
    err: str


Evolve = Callable[..., Answer]


@pytest.fixture
def evolve(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Evolve:
    """The real entry point, in this process."""

    def call(*arguments: str) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["evolve", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli_main.main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    create_home(path, export_tiny, "separate")
    monkeypatch.setenv("EVOLVE_HOME", str(path))
    return path


def error_of(answer: Answer) -> dict[str, str]:
    found: dict[str, str] = json.loads(answer.out)["error"]
    assert set(found) == {"kind", "message", "hint"}
    assert found["kind"] in ERROR_KINDS
    assert "\n" not in found["message"]
    return found


@pytest.mark.parametrize(
    "words",
    [
        ("batch",),
        ("batch", "list"),
        ("run",),
        ("candidate",),
        ("evidence",),
        ("people",),
        ("audit",),
        ("config",),
        ("scan",),
        ("audit", "verify"),
    ],
)
def test_json_alone_on_stdout(home: Path, evolve: Evolve, words: tuple[str, ...]) -> None:
    answer = evolve(*words, "--json")
    assert answer.code == 0, answer
    json.loads(answer.out)


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (("batch", "show", "nope"), 3, "not_found"),
        (("evidence", "show", "nope"), 3, "not_found"),
        (("evidence", "flag", "nope", "--reason", "x"), 3, "not_found"),
        (("run", "status", "nope"), 3, "not_found"),
        (("run", "stop", "nope"), 3, "not_found"),
        (("run", "resume", "nope"), 3, "not_found"),
        (("run", "start", "nope", "--reason", "x"), 3, "not_found"),
        (("candidate", "show", "nope"), 3, "not_found"),
        (("candidate", "diff", "nope"), 3, "not_found"),
        (("candidate", "provenance", "nope"), 3, "not_found"),
        (("trial", "show", "nope"), 3, "not_found"),
        (("trial", "rerun", "nope", "x"), 3, "not_found"),
        (("approve", "nope", "--reason", "x"), 3, "not_found"),
        (("promote", "nope"), 3, "not_found"),
        (("decline", "nope", "--reason", "x"), 4, "needs_consent"),
        (("batch", "seal", "nope", "--reason", "x", "--dry-run"), 3, "not_found"),
        (("batch", "dismiss", "nope", "--reason", "x"), 3, "not_found"),
        (("rollback", "--reason", "x"), 5, "broken"),
        (("batch", "seal", "nope"), 2, "bad_input"),
        (("run", "start", "x", "--reason", "r", "--iterations", "99"), 2, "bad_input"),
        (("candidate", "export", "x"), 2, "bad_input"),
        (("batch", "lst"), 2, "bad_input"),
        (("nonsense",), 2, "bad_input"),
        (("init", "--tiny"), 2, "bad_input"),
    ],
)
def test_failures_are_one_envelope_or_one_line(
    home: Path, evolve: Evolve, words: tuple[str, ...], code: int, kind: str
) -> None:
    answer = evolve(*words, "--json")
    assert (answer.code, error_of(answer)["kind"]) == (code, kind), answer
    plain = evolve(*words)
    assert (plain.code, plain.out) == (code, "")
    assert "Traceback" not in plain.err
    assert code == 2 or plain.err.startswith("evolve: ")


def test_no_home(tmp_path: Path, evolve: Evolve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOLVE_HOME", str(tmp_path / "none"))
    for words in (("batch",), ("scan",), ("worker", "--once"), ("people", "add", "ana")):
        answer = evolve(*words)
        assert (answer.code, answer.out) == (3, "")
        assert "evolve init" in answer.err
    assert not (tmp_path / "none").exists()


def test_settings_that_are_wrong(home: Path, evolve: Evolve) -> None:
    (home / "evolve.toml").write_text("[run]\niteration = 1\n")
    answer = evolve("batch", "--json")
    assert answer.code == 2
    assert "run.iteration" in error_of(answer)["message"]


def test_a_wrong_word_names_the_right_one(evolve: Evolve) -> None:
    assert "did you mean 'seal'?" in evolve("batch", "sael").err
    assert "did you mean 'candidate'?" in evolve("candidat").err
    assert "there are: dismiss, list" in evolve("batch", "xyz").err
    assert "\x1b" not in evolve("batch", HOSTILE).err


def test_a_bare_noun_lists(home: Path, evolve: Evolve) -> None:
    assert evolve("batch").out == evolve("batch", "list").out
    assert "no batches" in evolve("batch").err
    assert json.loads(evolve("run", "--json").out) == []
    nothing = evolve("agent")
    assert (nothing.code, "nothing is running" in nothing.err) == (1, True)
    assert evolve("trial").code == 2  # replays are shown by candidate


def test_help_and_version(evolve: Evolve) -> None:
    for words in (("--help",), ("-h",), ("--version",), ("batch", "--help"), ("run", "start", "--help")):
        answer = evolve(*words)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out


def test_config_hides_secrets(home: Path, evolve: Evolve) -> None:
    text = (home / "evolve.toml").read_text()
    secrets = (
        'redis_url = "redis://:hunter2@h"\n' + text + '\n[tools.t]\ncommand = "x"\nenv = { K = "hunter2" }\n'
    )
    (home / "evolve.toml").write_text(secrets)
    for words in (("config",), ("config", "--json")):
        answer = evolve(*words)
        assert answer.code == 0
        assert "hunter2" not in answer.out + answer.err
        assert "**********" in answer.out


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [(kind("what"), kind.exit_code, kind.kind) for kind in EvolveError.__subclasses__()]
    + [
        (RuntimeBroken("no engine"), 5, "broken"),
        (StoreError("no database\nSELECT"), 5, "broken"),
        (OSError(28, "No space left on device", "/x"), 5, "broken"),
        (OSError(27, "File too large", "/x"), 5, "broken"),
    ],
)
def test_every_failure_has_its_exit_code(
    evolve: Evolve, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, kind: str
) -> None:
    @click.command()
    @click.option("--json", is_flag=True)
    def fails(json: bool) -> None:
        raise error

    monkeypatch.setattr(cli_main.Commands, "get_command", lambda *_: fails)
    answer = evolve("scan", "--json")
    assert (answer.code, error_of(answer)["kind"]) == (code, kind)
    assert evolve("scan").code == code


def test_interrupted(evolve: Evolve, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def waits() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_main.Commands, "get_command", lambda *_: waits)
    assert evolve("scan").code == 130


def test_hostile_text_is_harmless_in_listings(home: Path, evolve: Evolve) -> None:
    with Product.open(home) as product:
        runs.create_run(
            product.store,
            RunRow(
                batch_id=HOSTILE, batch_digest="x", requester=HOSTILE, reason=HOSTILE, coder=HOSTILE, seed=1
            ),
        )
        product.ledger.append("x", {}, who=HOSTILE, reason=HOSTILE)
    [run] = json.loads(evolve("run", "--json").out)
    for words in (("run",), ("run", "status", run["id"]), ("audit",)):
        shown = evolve(*words)
        assert shown.code == 0
        assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(shown.out + shown.err)
    assert run["requester"] == HOSTILE  # JSON is for programs, and escapes by itself


def test_watch_tells_where_a_run_stands_until_it_ends(
    home: Path, evolve: Evolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Product.open(home) as product:
        world = World(product.settings, product.store, Book(home, product.store), "b", "", "")

        def running() -> str:
            """A run that says something more, and ends."""
            run_id = add_population(world, running=True)

            def go_on() -> None:
                runs.tell(product.store, run_id, "trial", f"something new {HOSTILE}")
                with product.store.write() as session:
                    row = runs.get_run(session, run_id)
                    row.state, row.verdict = "finished", "inconclusive"
                    session.add(row)

            timer = threading.Timer(0.3, go_on)
            timer.start()
            return run_id

        told = [json.loads(line) for line in evolve("run", "watch", running(), "--json").out.splitlines()]
        assert [line["kind"] for line in told] == ["live", "event", "live"]
        assert (told[0]["stage"], told[0]["progress"]["done"], told[0]["e_value"]) == ("trial", 10, 3.25)
        assert (told[0]["limits"]["usd_micros"], told[-1]["state"]) == (2_500_000, "finished")
        plain = evolve("run", "watch", running())
        monkeypatch.setenv("FORCE_COLOR", "1")
        shown = evolve("run", "watch", running())
    line = "pass 3: trial; candidate "
    where = "10 of 88 replays (held-out); e-value 3.25 of 60; 0.0325 of 2.5 USD, 3250 of 2000000 tokens"
    assert plain.out.startswith(line)
    assert where in plain.out.splitlines()[0]
    assert line in shown.out
    assert "\x1b[?25l" in shown.out, "a line that changes"
    for answer in (plain, shown):
        assert answer.code == 0
        assert "something new good" in answer.out
        assert not {"\x07", "\u202e", "\u200b"} & set(answer.out + answer.err)
    assert "\x1b" not in plain.out


def test_show_prints_costs_and_population_first(home: Path, evolve: Evolve) -> None:
    with Product.open(home) as product:
        world = World(product.settings, product.store, Book(home, product.store), "b", "", "")
        run_id = add_population(world, text=lambda honest: honest + HOSTILE)
    shown = evolve("run", "show", run_id)
    assert shown.code == 0
    assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(shown.out)
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert (
        lines.index("== costs by stage ==") < lines.index("== population ==") < lines.index("== baseline ==")
    )
    assert any(line.startswith("2.1 1.2 mend 7.5 of 8 0 +5 -7 0.0074 tried inconclusive") for line in lines)
    assert any(line.startswith("re-run 1 of 8 control") for line in lines)
    assert any(line.startswith("in all 0.0231 2310 231") for line in lines)


def test_a_failure_shows_the_workflows_that_were_tried(home: Path, evolve: Evolve) -> None:
    log = Log(home / "service")
    log.start()
    turn = log.turn("look Ada up", end=False)
    told = {"name": "plan", "digest": "sha256:" + "0" * 64, "source": "planned", "answered": False}
    step = {"id": "s1", "tool": "shop/look", "state": "failed", "error": HOSTILE}
    log.event(
        "workflow", "s", turn, **told, ran=True, steps=[step], doubts=["nobody says it"], drafts=2, tokens=70
    )
    log.event("workflow", "s", turn, **told, ran=False, steps=[])
    late = [{"id": "s1", "tool": "shop/look", "state": "cut_off"}]
    log.event("workflow", "s", turn, **told, ran=True, steps=late, cut_off=True, request="look Bob up")
    log.event("turn_ended", "s", turn, status=200, reply={}, ms=1.0, timed_out=False)
    with Product.open(home) as product:
        assert intake(product.store, log.sources, redactor=product.redactor).aside == ()
    (found,) = json.loads(evolve("evidence", "--json").out)
    assert found["signals"][0]["reason"].startswith("step s1 of the workflow plan failed: ")
    lines = [" ".join(line.split()) for line in evolve("evidence", "show", found["id"]).out.splitlines()]
    ran, made, late_line = (line for line in lines if line.startswith("planned workflow"))
    head = "planned workflow plan; ran, no answer; 2 drafts; 70 tokens; s1 shop/look failed "
    assert ran.startswith(head)
    assert ran.endswith("; nobody says it")
    assert "\x1b" not in ran
    assert made == "planned workflow plan; not run"
    assert late_line == (
        "planned workflow plan; ran, no answer; cut off; for: look Bob up; s1 shop/look cut_off"
    )


def test_what_ships_with_the_live_service_is_listed_and_without_a_home_what_is_bundled(
    home: Path, evolve: Evolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(evolve("workflow", "--json").out) == []
    repository, shipped = home / "substrate", home / "substrate" / "workflows" / "library"
    shipped.mkdir(parents=True)
    (shipped / "clock.json").write_bytes((LIBRARY / "world_clock.json").read_bytes())
    (shipped / "broken.json").write_text("{")
    (shipped / "world_clock.points.json").write_text("{}")
    first = worktree.head(repository)
    worktree.move_main(repository, worktree.commit_directory(repository, repository, first, "more"), first)
    answer = evolve("workflow", "list", "--json")
    assert [one["name"] for one in json.loads(answer.out)] == ["world_clock"]
    assert answer.err.startswith("workflows/library/broken.json: no workflow: not JSON")
    assert answer.err.count("\n") == 1
    monkeypatch.setenv("EVOLVE_HOME", str(home / "elsewhere"))
    assert len(json.loads(evolve("workflow", "--json").out)) > 1


def test_output_helpers_sanitise(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a",), [(HOSTILE,)], "")
    print_fields([(HOSTILE, HOSTILE)])
    say(HOSTILE)
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert out.count("[red]bold[/red]") == 3  # markup of rich is text like any other
    assert "\\u202e" in out


def test_a_hint_is_shown(evolve: Evolve, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def fails() -> None:
        raise Broken("no engine", hint="install one")

    monkeypatch.setattr(cli_main.Commands, "get_command", lambda *_: fails)
    assert evolve("scan").err == "evolve: no engine (install one)\n"
