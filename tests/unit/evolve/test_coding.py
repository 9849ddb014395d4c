"""Coders by command: judged by the tree that they leave; and `evolve-check`, their way to ask for replays."""

import json
import os
import socketserver
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from containers.runtime import Mount
from evolve.coding import evolve_check, get_coder, installed
from evolve.coding.answers import Trouble
from evolve.coding.call import Ended, judge, make_home, remove_leftovers, session_of, tree_digest
from evolve.coding.cli import CliCoder
from evolve.coding.clis import ADAPTERS
from evolve.coding.clis.adapter import Said
from evolve.coding.command import CommandCoder
from evolve.coding.protocol import Missing, Version
from evolve.errors import BadInput
from evolve.settings import FILE_NAME, load_settings
from trial.gateway import Price


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    (folder / ".git").mkdir(parents=True)
    (folder / "a.py").write_text("x = 1\n")
    return folder


def test_the_tree_decides_never_the_exit_code(tree: Path) -> None:
    late = Trouble("timed_out", "too late")
    ends = [Ended(0, None, None), Ended(1, None, None), Ended(7, None, None), Ended(None, late, None)]
    outcomes = [judge(False, ended, Said())[0] for ended in ends]
    assert outcomes == ["no_change", "no_change", "failed", "timed_out"]
    assert {judge(True, ended, Said(hint="failed"))[0] for ended in ends} == {"edited"}


def test_what_the_gateway_saw_goes_before_what_a_coder_says() -> None:
    limited, late = Trouble("rate_limited", "429"), Trouble("timed_out", "too late")
    claims = Said(text="All done!")
    assert judge(False, Ended(0, None, limited), claims) == ("rate_limited", "429")
    assert judge(False, Ended(None, late, limited), claims)[0] == "rate_limited"
    assert judge(False, Ended(None, Trouble("out_of_budget", "cap"), limited), claims) == (
        "out_of_budget",
        "cap",
    )
    assert judge(False, Ended(0, None, None), Said(hint="denied_edit"))[0] == "denied_edit"
    assert judge(False, Ended(0, None, None), Said(text="Which one?\n"))[0] == "asked"
    assert judge(False, Ended(0, None, None), claims)[0] == "no_change"


def test_git_and_caches_are_no_edit_but_names_and_links_are(tree: Path) -> None:
    before = tree_digest(tree)
    (tree / ".git" / "index").write_text("x")
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "a.pyc").write_text("x")
    assert tree_digest(tree) == before
    (tree / "a.py").rename(tree / "b.py")
    renamed = tree_digest(tree)
    os.symlink("/etc/passwd", tree / "c.py")
    assert len({before, renamed, tree_digest(tree)}) == 3


def test_probe_tells_what_the_sandbox_would_not_find(tmp_path: Path) -> None:
    assert isinstance(CommandCoder("x", ("/usr/bin/env", "{repo}")).probe(), Version)
    assert isinstance(CommandCoder("x", ("sh",)).probe(), Version)
    assert isinstance(CommandCoder("x", ()).probe(), Missing)
    hidden = CommandCoder("x", (str(tmp_path / "coder"),))
    assert isinstance(hidden.probe(), Missing)
    shown = CommandCoder("x", hidden.argv, mounts=(Mount(tmp_path, str(tmp_path)),))
    assert isinstance(shown.probe(), Missing)  # not there at all
    (tmp_path / "coder").write_text("")
    assert isinstance(shown.probe(), Version)
    gone = CommandCoder("x", ("sh",), mounts=(Mount(tmp_path / "gone", "/gone"),))
    assert "mounts" in str(gone.probe())


def test_coders_by_name(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('[coders.mine]\nargv = ["sh", "{task}"]\nenv = { KEY = "v" }\n')
    settings = load_settings(tmp_path)
    mine = get_coder("mine", settings, settings.run)
    assert isinstance(mine, CommandCoder)
    assert (mine.name, mine.env) == ("mine", {"KEY": "v"})
    assert get_coder("mend", settings, settings.run).name == "mend"
    with pytest.raises(BadInput) as caught:
        get_coder("theirs", settings, settings.run)
    assert "mend, workflows, mine" in caught.value.hint
    once = get_coder("workflows", settings, settings.run)
    more = get_coder("workflows", settings, settings.run.model_copy(update={"workflows": "any_tool"}))
    assert isinstance(once, CommandCoder)
    assert isinstance(more, CommandCoder)
    assert set(more.argv) - set(once.argv) == {"--any-tool"}


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("mend", "import evolve.mend.__main__, evolve.mend.combine"),
        ("workflows", "import evolve.workflow_mend.__main__"),
    ],
)
def test_a_bundled_coder_is_shown_all_that_it_imports(tmp_path: Path, name: str, program: str) -> None:
    """Nothing but its own folders, as in its sandbox."""
    settings = load_settings(tmp_path)
    coder = get_coder(name, settings, settings.run)
    assert isinstance(coder, CommandCoder)
    assert isinstance(coder.probe(), Version)
    library = coder.env["PYTHONPATH"]
    for mount in coder.mounts:
        place = tmp_path / "library" / Path(mount.target).relative_to(library)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(mount.source)
    env = {"PYTHONPATH": str(tmp_path / "library")}
    command = [coder.argv[0], "-S", "-B", "-W", "error", "-c", program]
    subprocess.run(command, env=env, cwd=tmp_path, check=True, timeout=60)


@contextmanager
def answering(folder: Path, answer: bytes) -> Iterator[list[dict[str, object]]]:
    """The other end of the socket, which says the same to everybody."""
    asked: list[dict[str, object]] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(json.loads(self.rfile.readline()))
            self.wfile.write(answer)

    with socketserver.UnixStreamServer(str(folder / "s"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def check(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As in the sandbox: the file alone, with the standard library; only the socket lies elsewhere."""
    program = folder / "evolve-check"
    source = Path(evolve_check.__file__).read_text()
    source = source.replace('"/run/check/check.sock"', repr(str(folder / "s")))
    program.write_text(source.replace('"/work/repo"', repr(str(folder / "repo"))))
    argv = [sys.executable, "-IS", str(program), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20)


def results(*outcomes: str) -> bytes:
    rows = [{"case": f"c<{n}>", "outcome": o, "reason": "a & b"} for n, o in enumerate(outcomes)]
    return json.dumps({"results": rows}).encode() + b"\n"


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [(("pass", "pass"), 0), (("pass", "fail"), 1), (("fail", "invalid"), 5), (("known",), 0)],
)
def test_exit_codes_and_junit(tmp_path: Path, outcomes: tuple[str, ...], code: int) -> None:
    with answering(tmp_path, results(*outcomes)) as asked:
        done = check(tmp_path, "--fail-fast", "--junit", str(tmp_path / "j.xml"), "c<0>")
    assert (done.returncode, done.stderr) == (code, "")
    assert asked == [{"cases": ["c<0>"], "fail_fast": True, "list": False}]
    suite = ET.parse(tmp_path / "j.xml").getroot()
    assert [int(suite.attrib[k]) for k in ("tests", "failures", "errors")] == [
        len(outcomes),
        outcomes.count("fail"),
        outcomes.count("invalid"),
    ]
    assert [case.attrib["name"] for case in suite] == [f"c<{n}>" for n in range(len(outcomes))]


def test_a_copy_is_told_by_its_differences(tmp_path: Path) -> None:
    for name in ("repo", "copy"):
        (tmp_path / name / "app").mkdir(parents=True)
        (tmp_path / name / "app" / "same.py").write_text("same")
        (tmp_path / name / "app" / "edited.py").write_text(name)
    (tmp_path / "repo" / "gone.py").write_text("x")
    (tmp_path / "copy" / "new.py").write_bytes(b"\xff")
    (tmp_path / "copy" / "link.py").symlink_to("/etc/passwd")
    with answering(tmp_path, results("pass")) as asked:
        assert check(tmp_path, "--tree", str(tmp_path / "copy")).returncode == 0
    assert asked[0]["changes"] == {"app/edited.py": "Y29weQ==", "gone.py": None, "new.py": "/w=="}
    assert check(tmp_path, "--tree", str(tmp_path / "none")).returncode == 2


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    with answering(tmp_path, results("fail")):
        done = check(tmp_path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["results"][0]["reason"] == "a & b"


@pytest.mark.parametrize("answer", [b'{"error": "the run has ended"}\n', b"", b"nonsense\n"])
def test_a_replay_that_broke_is_no_failing_case(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer):
        done = check(tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)


def test_nobody_listens_and_wrong_usage(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert check(tmp_path, "--bogus").returncode == 2


def test_leftovers_go_but_nothing_of_the_repository(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    (tree / ".aider.conf.yml").write_text("the repository's own")
    known = set(os.listdir(tree))
    (tree / ".aider.tags.cache").mkdir()
    (tree / ".aider.chat.md").write_text("x")
    (tree / ".aider.link").symlink_to(outside)
    (tree / "below").mkdir()
    (tree / "below" / ".aider.x").write_text("x")
    remove_leftovers(tree, (".aider*",), known)
    assert sorted(os.listdir(tree)) == [".aider.conf.yml", ".git", "a.py", "below"]
    assert (outside / "kept").is_dir()
    assert (tree / "below" / ".aider.x").exists()


def test_a_home_that_a_coder_has_had_is_not_written_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    home = make_home({".codex/config.toml": "x"}, tmp_path)
    assert (home / ".codex" / "config.toml").read_text() == "x"
    (home / ".codex" / "config.toml").unlink()
    (home / ".codex").rmdir()
    (home / ".codex").symlink_to(outside)
    make_home({".codex/config.toml": "x"}, tmp_path)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("told", ["--help", "-x", "a b", "a\nb", "../x", "x" * 101, ""])
def test_a_session_s_name_that_could_be_an_option_is_none(told: str) -> None:
    assert session_of(Said(session=told)) == ""
    assert session_of(Said(session="ses_1-a.b")) == "ses_1-a.b"


def test_coding_clis_by_name(tmp_path: Path) -> None:
    table = 'kind = "codex"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\n'
    price = "usd_micros_per_million_input = 7\nusd_micros_per_million_output = 8\n"
    (tmp_path / FILE_NAME).write_text(
        f'[coders.mine]\n{table}api_key_env = "NO_SUCH_KEY"\n{price}'
        f'[coders.plain]\nargv = ["sh"]\nbase_url = "http://127.0.0.1:9"\n'
    )
    settings = load_settings(tmp_path)
    mine = get_coder("mine", settings, settings.run)
    assert isinstance(mine, CliCoder)
    assert (mine.adapter.kind, mine.model_name, mine.resumes) == ("codex", "m", True)
    assert mine.model.upstream.prices["*"] == Price(input=7, output=8)
    assert isinstance(mine.probe(), Missing)
    plain = get_coder("plain", settings, settings.run)
    assert isinstance(plain, CommandCoder)
    assert plain.model is not None
    assert plain.model.upstream.prices == {}
    for wrong, word in (('kind = "codex"', "model"), ('kind = "cursor"\nargv = ["x"]', "kind"), ("", "argv")):
        (tmp_path / FILE_NAME).write_text(f"[coders.x]\n{wrong}\n")
        with pytest.raises(BadInput, match=word):
            load_settings(tmp_path)


def fake_cli(folder: Path, first_line: str, name: str = "codex") -> Path:
    folder.mkdir(parents=True)
    program = folder / name
    program.write_text(f"{first_line}\necho 'codex-cli 0.165.2'\n")
    program.chmod(0o755)
    return program


def test_an_installation_is_shown_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    adapter = ADAPTERS["codex"]
    package = tmp_path / "npm" / "node_modules" / "@openai" / "codex"
    real = fake_cli(package / "bin", "#!/bin/sh")
    (package / "package.json").write_text('{"version": "0.169.0"}')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "codex").symlink_to(real)
    found = installed.find(adapter, str(tmp_path / "bin" / "codex"))
    assert isinstance(found, installed.Installed)
    assert (found.program, found.version) == (real, "0.169.0")
    assert [mount.target for mount in found.mounts] == [str(tmp_path / "npm" / "node_modules")]
    (tmp_path / "package.json").write_text('{"version": "9.9.9"}')  # somebody else's
    alone = installed.find(adapter, str(fake_cli(tmp_path / "alone", "#!/bin/sh")))
    assert isinstance(alone, installed.Installed)
    assert [mount.target for mount in alone.mounts] == [str(tmp_path / "alone" / "codex")]
    assert (alone.version, installed.is_known_good(alone.version, adapter)) == ("0.165.2", True)
    assert [installed.is_known_good(v, adapter) for v in ("0.159.9", "0.180", "1.0", "")] == [False] * 4
    assert "npm install" in str(installed.find(adapter, "/nowhere"))


def test_a_virtual_environment_is_shown_with_its_python(tmp_path: Path) -> None:
    program = fake_cli(tmp_path / "venv" / "bin", "#!/bin/sh", "aider")
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {tmp_path}/python/bin\n")
    (tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "aider_chat-0.86.2.dist-info").mkdir(
        parents=True
    )
    found = installed.find(ADAPTERS["aider"], str(program))
    assert isinstance(found, installed.Installed)
    assert found.version == "0.86.2"
    assert [mount.target for mount in found.mounts] == [str(tmp_path / "venv"), str(tmp_path / "python")]
