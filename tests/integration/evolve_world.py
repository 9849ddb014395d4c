"""A small world for the whole product: the tiny service with one planted defect, requirements, people, a scripted coder,
users who ask over HTTP, and the `evolve` command as its own process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from evolve.home import add_person, create_home
from evolve.settings import FILE_NAME, load_settings
from evolve.substrates import export_tiny

PASSPHRASE = "correct horse"
REQUESTER, APPROVER = "olga", "ana"
RIGHT = "return str(sum(int(word) for word in text.split()))"
WRONG = "return str(sum(int(word) for word in text.split()[:3]))"
"""The first planted defect: a fourth number is not added."""
RIGHT_LENGTH, WRONG_LENGTH = "str(len(text))", "str(len(text) % 20)"
"""The second: a length of twenty and more is told wrong."""
DEFECTS = {RIGHT: WRONG, RIGHT_LENGTH: WRONG_LENGTH}

RULES = """
def words(body):
    return body["messages"][-1]["content"].split()


def sum_is_right(turn):
    asked = words(turn["request"])
    if asked[:1] != ["add"]:
        return None
    wanted = str(sum(int(word) for word in asked[1:]))
    got = turn["reply"]["choices"][0]["message"]["content"]
    return None if got == wanted else f"the sum is {wanted}, not {got}"


def length_is_right(turn):
    _, skill, text = ("", *turn["request"]["messages"][-1]["content"].partition(" ")[::2])
    if skill != "length":
        return None
    got = turn["reply"]["choices"][0]["message"]["content"]
    return None if got == str(len(text)) else f"the length is {len(text)}, not {got}"


def some_answer(turn):
    return None if turn["reply"]["choices"][0]["message"]["content"] else "an empty answer"
"""

LISTEN = """
[edge]
port = 0

[web]
port = 0
"""
SETTINGS = """
[batch]
min_visible = 2
min_held_out = 8
min_regression = 30
max_visible = 2
max_held_out = 8
max_regression = 30

[run]
coder = "sum"
depth = "light"
iterations = 1
coder_seconds = 30
workers = 2

[swap]
bake_seconds = 10
bake_turns = 50
disk_reserve_bytes = 0

[[rules]]
name = "sum"
file = "rules.py"
function = "sum_is_right"

[[graders]]
name = "sum"
kind = "rule"
file = "rules.py"
function = "sum_is_right"
applies = { regex = "^add " }

[[rules]]
name = "length"
file = "rules.py"
function = "length_is_right"

[[graders]]
name = "length"
kind = "rule"
file = "rules.py"
function = "length_is_right"
applies = { regex = "^length " }

[[graders]]
name = "answer"
kind = "rule"
file = "rules.py"
function = "some_answer"
"""
CONSENT = """
[consent]
policy = "separate"
"""
CODER = r"""
# Edits what is wrong and leaves a mark of its own, so that a second call could not pass for the first.
mark=$(od -An -N8 -tx1 /dev/urandom | tr -d " ")
file=$1/service/turns.py
total="str(sum(map(int,"
# A first number that some visible wrong sums begin below and some do not.
middle() { middle=$(grep -o '"add [0-9]* [0-9]* 5 ' /work/task/cases.json | cut -d " " -f 2 | sort -n | sed -n 2p); }
case $2 in
sum) sed -i "s/\[:3\]))$/))  # mark $mark/" $file; exit 7 ;;
late) sleep 4; sed -i "s/\[:3\]))$/))  # mark $mark/" $file ;;
length) sed -i "s/len(text) % 20),$/len(text)),  # mark $mark/" $file ;;
worse) sed -i "s/text.split()\[:3\]/\"7\"/" $file ;;
protected) echo "# mark" >> $1/substrate.toml ;;
low)
    middle
    sed -i "s/^def add(.*/&\\n    if int(text.split()[0]) < $middle:\\n        return $total text.split())))/" $file
    ;;
high)
    middle
    line="        if name == \"add\" and int(rest.split()[0]) >= $middle:"
    sed -i "s/^        if name in SKILLS:/$line\\n            return $total rest.split()))), None\\n&/" $file
    ;;
nothing) evolve-check; exit 0 ;;
slow) sleep 60 ;;
esac
"""
CODERS = ("sum", "late", "length", "worse", "low", "high", "protected", "nothing", "slow")
COMMANDS = "".join(
    f"\n[coders.{name}]\nargv = ['/bin/sh', '-c', '''{CODER}''', 'coder', '{{repo}}', '{name}']\n"
    for name in CODERS
)


class Zygote:
    """A process that forks a ready-made `evolve` for each command; see evolve_zygote.py."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("evolve_zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.busy = False

    def read(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def order(self, what: dict[str, object]) -> int:
        assert self.process.stdin
        self.busy = True
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self) -> None:
        with self.process:
            assert self.process.stdin
            self.process.stdin.close()


_zygotes: list[Zygote] = []


def close_zygotes() -> None:
    while _zygotes:
        _zygotes.pop().close()


@dataclass(frozen=True)
class Done:
    """A command that ended. `code` is negative when a signal ended it."""

    code: int
    out: str
    err: str


@dataclass
class Command:
    """A command under way, in a process group of its own."""

    pid: int
    zygote: Zygote
    folder: Path

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """With every descendant, whatever process group it is in."""
        family = [self.pid]
        for pid in family:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                family += [int(child) for child in task.read_text().split()]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def wait(self) -> Done:
        code = self.zygote.read()
        self.zygote.busy = False
        out, err = ((self.folder / name).read_text() for name in ("out", "err"))
        shutil.rmtree(self.folder)
        return Done(code, out, err)


@dataclass(frozen=True)
class World:
    """One `$EVOLVE_HOME` and the command that works on it."""

    home: Path

    def start(self, *arguments: str, given: str = "", **env: str) -> Command:
        folder = Path(tempfile.mkdtemp(prefix="evolve-test-"))
        (folder / "in").write_text(given)
        zygote = next((z for z in _zygotes if not z.busy), None)
        if zygote is None:
            zygote = Zygote()
            _zygotes.append(zygote)
        told = {"EVOLVE_HOME": str(self.home), "EVOLVE_PERSON": REQUESTER, **env}
        files = [str(folder / name) for name in ("in", "out", "err")]
        return Command(zygote.order({"argv": arguments, "env": told, "files": files}), zygote, folder)

    def run(self, *arguments: str, given: str = "", **env: str) -> Done:
        return self.start(*arguments, given=given, **env).wait()

    def ok(self, *arguments: str, given: str = "", **env: str) -> Any:
        """What the command answers with --json; it must succeed."""
        done = self.run(*arguments, "--json", given=given, **env)
        assert done.code == 0, (arguments, done)
        return json.loads(done.out)

    def refused(self, code: int, kind: str, *arguments: str, given: str = "", **env: str) -> dict[str, str]:
        """The error of a command that must end with this exit code and kind, on both faces of the CLI."""
        done = self.run(*arguments, "--json", given=given, **env)
        assert done.code == code, (arguments, done)
        assert "Traceback" not in done.err
        error: dict[str, str] = json.loads(done.out)["error"]
        assert error["kind"] == kind, error
        assert "\n" not in error["message"]
        return error

    def batch(self, name: str) -> str:
        """Id of the batch of failures that this rule found."""
        [found] = [b for b in self.ok("batch") if b["title"].startswith(f"rule {name}:")]
        return str(found["id"])

    def wait_for_stage(self, name: str) -> str:
        """The newest run's id, once it works on this stage."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = self.ok("run", "list")
            if found and (found[0]["stage"], found[0]["state"]) == (name, "running"):
                return str(found[0]["id"])
            time.sleep(0.05)
        raise AssertionError(f"no run came to {name}")

    def copy(self, target: Path) -> "World":
        """The same home at another place; only for one whose agent is stopped."""
        shutil.copytree(self.home, target, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
        return World(target)


def lay_out_broken(tree: Path) -> None:
    """The tiny service with the planted defects."""
    export_tiny(tree)
    source = tree / "service" / "turns.py"
    text = source.read_text()
    for right, wrong in DEFECTS.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    source.write_text(text)


def make_world(home: Path) -> World:
    """A home with the defective tiny service, a requester and an approver; nothing runs."""
    create_home(home, lay_out_broken, "separate")
    (home / "rules.py").write_text(RULES)
    (home / FILE_NAME).write_text(LISTEN + SETTINGS + CONSENT + COMMANDS)
    for name, roles in ((REQUESTER, ("operator",)), (APPROVER, ("approver",))):
        add_person(load_settings(home), name, roles, PASSPHRASE)
    return World(home)


def questions(seed: int = 0) -> list[str]:
    """Twelve that each defect spoils, and enough that none does."""
    broken = [f"add {seed + n} {n} 5 {n + 1}" for n in range(12)]
    broken += [f"length {seed + n} {'y' * (20 + n)}" for n in range(12)]
    fine = [f"add {seed + n} {n}" for n in range(30)] + [f"upper word{seed}x{n}" for n in range(30)]
    return broken + fine


def ask(url: str, texts: Sequence[str], tag: str = "q", session: str = "") -> list[tuple[int, str]]:
    """Each question in a session of its own, or all in one; (status, answer)."""
    answers = []
    with httpx2.Client(base_url=url, timeout=70) as http:
        for number, text in enumerate(texts):
            headers = {"x-request-id": f"{tag}-{number}", "x-session": session or f"{tag}-s{number}"}
            body = {"messages": [{"role": "user", "content": text}]}
            reply = http.post("/v1/chat/completions", json=body, headers=headers)
            content = (
                reply.json()["choices"][0]["message"]["content"] if reply.status_code == 200 else reply.text
            )
            answers.append((reply.status_code, content))
    return answers


class Users:
    """Traffic that goes on in the background while something else happens."""

    def __init__(self, url: str, tag: str) -> None:
        self.url, self.tag = url, tag
        self.answers: list[tuple[int, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go)

    def _go(self) -> None:
        number = 0
        while not self._stop.is_set():
            self.answers += ask(self.url, [f"upper hello{number}"], f"{self.tag}{number}")
            number += 1
            time.sleep(0.03)

    def __enter__(self) -> "Users":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def lost(self) -> list[tuple[int, str]]:
        return [a for n, a in enumerate(self.answers) if a != (200, f"HELLO{n}")]


def git(world: World, *arguments: str) -> str:
    """What git says in the substrate's repository."""
    command = ["git", "-C", str(world.home / "substrate"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def approve(world: World, candidate: dict[str, Any], **more: str) -> tuple[str, ...]:
    """The words with which a person signs this candidate; the passphrase is given to the command."""
    who = more.get("who", APPROVER)
    digest = more.get("digest", str(candidate["image"])[-8:])
    words = ("approve", candidate["id"], "--reason", "the report", "--as", who)
    return (*words, "--passphrase-stdin", "--digest", digest)


@contextmanager
def running(world: World) -> Iterator[str]:
    """The service's address while it runs; nothing is left afterwards."""
    try:
        yield str(world.ok("agent", "start")["url"])
    finally:
        stopped = world.run("agent", "stop")
        assert stopped.code == 0, stopped
