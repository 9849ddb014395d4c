"""Bad input and a bad machine: one clear line, the right exit code, nothing half-written."""

import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from evolve_world import World, make_world

from evolve.substrates import export_tiny


@pytest.fixture
def fresh(tmp_path: Path) -> World:
    """Nothing ever ran in it."""
    return make_world(tmp_path / "home")


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file that a person would miss, with its bytes."""
    kept = ("evolve.toml", "rules.py", "substrate", "keys", "blobs")
    roots = [home / name for name in kept]
    files = [p for root in roots for p in ([root] if root.is_file() else root.rglob("*")) if p.is_file()]
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "substrate.toml"),
        ("name = ", "substrate.toml"),
        ('name = "x"\ncommand = ["python"]\neditable = ["*"]\ncolour = 1\n', "colour"),
        (
            'name = "x"\ncommand = ["python"]\nlock_file = "requirements.lock"\neditable = ["*"]\n',
            "requirements.lock",
        ),
    ],
)
def test_a_missing_or_broken_manifest(fresh: World, tmp_path: Path, text: str | None, said: str) -> None:
    source = tmp_path / "service"
    export_tiny(source)
    (source / "substrate.toml").unlink()
    if text is not None:
        (source / "substrate.toml").write_text(text)
    home = tmp_path / "new"
    if said != "requirements.lock":
        error = fresh.refused(2, "bad_input", "init", "--from", str(source), "--home", str(home))
        assert said in error["message"]
        assert not home.exists()
    shutil.copy(source / "substrate.toml", fresh.home / "substrate") if text is not None else (
        fresh.home / "substrate" / "substrate.toml"
    ).unlink()
    git = ["git", "-C", str(fresh.home / "substrate"), "-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run([*git, "commit", "-qam", "broken"], check=True)
    done = fresh.run("agent", "start", "--json")
    assert done.code in (2, 5), done
    assert said in done.out
    assert "Traceback" not in done.err
    assert fresh.run("agent", "stop").code == 0


def test_a_dirty_worktree_is_not_imported(fresh: World, tmp_path: Path) -> None:
    source, home = tmp_path / "service", tmp_path / "new"
    export_tiny(source)
    git = ["git", "-C", str(source), "-c", "user.name=x", "-c", "user.email=x@y"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    (source / "service" / "turns.py").write_text("x = 1\n")
    error = fresh.refused(2, "bad_input", "init", "--from", str(source), "--home", str(home))
    assert "uncommitted" in error["message"]
    assert not home.exists()
    subprocess.run([*git, "commit", "-qam", "y"], check=True)
    assert fresh.ok("init", "--from", str(source), "--home", str(home))["commit"]
    fresh.refused(2, "bad_input", "init", "--tiny", "--home", str(home))


@pytest.mark.parametrize(("section", "words"), [("edge", ("agent", "start")), ("web", ("serve",))])
def test_a_port_in_use(fresh: World, section: str, words: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = fresh.run(*words, **{f"EVOLVE_{section.upper()}__PORT": str(port)})
    assert (done.code, done.out, str(port) in done.err) == (5, "", True)
    assert len(done.err.strip().splitlines()) == 1
    assert not fresh.ok("config")["edge"]["port"]
    assert fresh.run("agent", "status").code == 1


def test_a_half_migrated_database(fresh: World) -> None:
    assert fresh.ok("batch") == []
    database = fresh.home / "evolve.db"
    with sqlite3.connect(database) as db:
        db.execute("DROP TABLE run_event")
    db.close()
    before = database.read_bytes()
    assert "half migrated" in fresh.refused(5, "broken", "batch")["message"]
    assert "half migrated" in fresh.refused(5, "broken", "run", "start", "x", "--reason", "y")["message"]
    with sqlite3.connect(database) as db:
        db.execute("UPDATE alembic_version SET version_num = 'ffff'")
    db.close()
    assert "newer" in fresh.refused(5, "broken", "batch")["message"]
    database.write_bytes(b"no database at all, but long enough to be read as a page" * 100)
    fresh.refused(5, "broken", "batch")
    database.unlink()
    for rest in fresh.home.glob("evolve.db-*"):
        rest.unlink()
    assert fresh.ok("batch") == []
    assert before


def test_broken_rules_and_graders(fresh: World) -> None:
    (fresh.home / "rules.py").write_text("def sum_is_right(:\n")
    assert "rules.py" in fresh.refused(2, "bad_input", "scan")["message"]


def test_an_event_that_fits_no_schema_is_kept_aside(sealed_world: World, tmp_path: Path) -> None:
    world = sealed_world.copy(tmp_path / "home")
    [log] = world.home.glob("promote/state/gen-*/data/events.jsonl")
    with log.open("ab") as stream:
        stream.write(b'{"v":1,"kind":"nonsense"}\nnot json at all\n\xff\xfe\n')
    found = world.ok("scan")
    assert len(found["aside"]) == 3
    assert all(reason for _, reason in found["aside"])
    again = world.ok("scan")
    assert (again["events"], again["aside"]) == (0, [])


def test_too_few_cases_to_judge(sealed_world: World, tmp_path: Path) -> None:
    world = sealed_world.copy(tmp_path / "home")
    batch = world.batch("sum")
    error = world.refused(
        1, "refused", "batch", "seal", batch, "--reason", "now", EVOLVE_BATCH__MIN_HELD_OUT="40"
    )
    assert "held-out" in error["message"]
    assert "--early" in error["hint"]
    sealed = world.ok("batch", "seal", batch, "--reason", "now", "--early", EVOLVE_BATCH__MIN_HELD_OUT="40")
    assert sealed["cannot_show"]


def test_a_coder_that_is_not_there(sealed_world: World, tmp_path: Path) -> None:
    world = sealed_world.copy(tmp_path / "home")
    world.refused(2, "bad_input", "run", "start", world.batch("sum"), "--reason", "x", "--coder", "nobody")
    assert world.ok("run") == []
    assert world.ok("batch", "show", world.batch("sum"))["state"] == "sealed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, to be filled. Without the right to mount, a limit on file sizes stands in for it."""
    place = tmp_path / "disk"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(argv, capture_output=True, check=False).returncode == 0
    yield place
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> bool:
    """Take all that is left; False where `place` is no disk of its own."""
    if not os.path.ismount(place):
        return False
    with (place / "ballast").open("wb", buffering=0) as stream:
        try:
            while stream.write(b"\0" * 4096):
                pass
        except OSError:
            return True
    return True


def limited(world: World, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process that may write no file larger than 4 KiB."""
    return subprocess.run(
        [sys.executable, "-m", "evolve.cli.main", *words],
        env={**os.environ, "EVOLVE_HOME": str(world.home)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk(sealed_world: World, small_disk: Path) -> None:
    """While a run is made and while a home is made: exit code 5, one line; room again, and it goes on."""
    world = sealed_world.copy(small_disk / "home")
    batch = world.batch("sum")
    before = snapshot(world.home)
    if not fill(small_disk):
        pytest.skip("needs the right to mount; a limit on file sizes is tested in its place")
    full = ["run", "start", batch, "--reason", "x"]
    done = world.run(*full)
    assert done.code == 5, done
    assert "Traceback" not in done.err
    assert done.err.strip().splitlines()[-1].startswith("evolve: ")
    made = world.run("init", "--tiny", "--home", str(small_disk / "other"))
    assert (made.code, "No space left" in made.err) == (5, True)
    assert sorted(path.name for path in small_disk.iterdir()) == ["ballast", "home"]
    person = world.run("people", "add", "eve", "--passphrase-stdin", given="a long passphrase\n")
    assert person.code == 5, person
    assert "[consent.people.eve]" not in (world.home / "evolve.toml").read_text()
    (small_disk / "ballast").unlink()
    after = snapshot(world.home)
    assert {path: after.get(path) for path in before} == before
    assert world.ok("audit", "verify")["valid"]
    for run in world.ok("run"):
        assert world.run("run", "stop", run["id"]).code == 0
    assert world.ok("run", "start", batch, "--reason", "room again")["verdict"] == "converged"


def test_files_that_may_not_grow(fresh: World) -> None:
    """The same without a disk of its own: every write beyond 4 KiB fails."""
    done = limited(fresh, "init", "--tiny", "--home", str(fresh.home.parent / "other"))
    assert (done.returncode, "Traceback" in done.stderr) == (5, False), done
    assert not (fresh.home.parent / "other").exists()
    assert not list(fresh.home.parent.glob(".evolve-*"))
    done = limited(fresh, "batch", "--json")
    assert (done.returncode, "Traceback" in done.stderr) == (5, False), done
    assert fresh.ok("batch") == []
