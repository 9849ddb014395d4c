"""Candidates, good and bad, as edits of the tiny substrate."""

import shutil
from collections.abc import Mapping
from pathlib import Path

TINY = Path(__file__).resolve().parents[2] / "harness" / "tiny"
Patch = tuple[str, str, str]

TURN = "        status, reply = self.server.agent.handle(self.path, body, session, request_id, clock)\n"
OPEN = "    store = open_store(state)\n    events ="


def live_turn(first: int, deed: str) -> tuple[Patch, ...]:
    """`deed` on every live turn from the `first` on; probes see nothing of it."""
    counted = (
        '        turns = getattr(self.server, "turns", 0) + (not session.startswith("probe-"))\n'
        "        self.server.turns = turns\n"
        f'        if turns >= {first} and not session.startswith("probe-"):\n            {deed}\n'
    )
    return (("service/__main__.py", TURN, TURN + counted),)


KINDS: Mapping[str, tuple[Patch, ...]] = {
    "base": (),
    "good": (
        ("service/turns.py", '"reverse": lambda text: text[::-1],', '"reverse": lambda text: text[::-1],\n'),
    ),
    "crash": (("service/__main__.py", OPEN, "    raise SystemExit(3)\n" + OPEN),),
    "refuses": (("service/__main__.py", TURN, TURN + "        status, reply = 500, {}\n"),),
    "hangs": (("service/__main__.py", TURN, "        time.sleep(3600)\n" + TURN),),
    "wrong": (("service/turns.py", '"echo": lambda text: text,', '"echo": lambda text: "",'),),
    "slow_boot": (("service/__main__.py", OPEN, "    time.sleep(0.6)\n" + OPEN),),
    "late_bad": live_turn(4, "status, reply = 500, {}"),  # well within what every bake here must see
    "late_death": live_turn(9, "os._exit(9)"),
    "late_at_nine_tenths": live_turn(36, "status, reply = 500, {}"),
    "flaps": live_turn(4, "status, reply = (500, {}) if turns % 2 else (status, reply)"),
    "never_drains": live_turn(4, "time.sleep(3600)"),
    "stubborn": (
        *live_turn(4, "status, reply = 500, {}"),
        (
            "service/__main__.py",
            "lambda *_: threading.Thread(target=server.shutdown).start()",
            "signal.SIG_IGN",
        ),
    ),
    "leaks": live_turn(4, 'self.server.kept = [*getattr(self.server, "kept", []), b"x" * (200 << 20)]'),
    "eats_disk": live_turn(
        4, 'Path(os.environ["STATE_DIR"], "junk").open("ab", buffering=0).write(bytes(96 << 20))'
    ),
    "crawls": live_turn(4, "time.sleep(0.9)"),
    "never_boots": (("service/__main__.py", OPEN, "    time.sleep(3600)\n" + OPEN),),
    "dies_where_it_is_live": (
        (
            "service/__main__.py",
            OPEN,
            '    if os.environ["INSTANCE_EPOCH"] != "1":\n        raise SystemExit(3)\n' + OPEN,
        ),
    ),
    "unhealthy": (("service/__main__.py", 'self.send(200, {"ok": True})', 'self.send(500, {"ok": False})'),),
    "forgets": (("service/turns.py", 'self.store.notes(turn.session)) or "nothing"', '[]) or "nothing"'),),
    "no_heartbeat": (
        (
            "service/__main__.py",
            OPEN,
            '    beat = Path("/run/agent/heartbeat.json")\n    while not beat.is_dir():\n'
            "        beat.unlink(missing_ok=True)\n        try:\n            beat.mkdir()\n"
            "        except FileExistsError:\n            continue\n" + OPEN,
        ),
    ),
    "brittle": (
        (
            "service/__main__.py",
            TURN,
            TURN
            + '        if Path(os.environ["STATE_DIR"], "brittle").exists():\n            status, reply = 500, {}\n',
        ),
    ),
    "abrupt": (
        (
            "service/__main__.py",
            "lambda *_: threading.Thread(target=server.shutdown).start()",
            "lambda *_: os._exit(0)",
        ),
        (
            "service/__main__.py",
            TURN,
            '        Path(os.environ["STATE_DIR"], f"begun-{request_id}").touch()\n        time.sleep(0.3)\n'
            + TURN
            + '        Path(os.environ["STATE_DIR"], f"begun-{request_id}").unlink()\n',
        ),
    ),
    "lenient": (
        ("service/turns.py", '"echo": lambda text: text,', '"echo": lambda text: "",'),
        ("substrate.toml", 'expect = "{nonce}"', 'expect = "choices"'),
    ),
    "outgrows": (
        ("service/state.py", "READS = (1,)\n", "READS = (1, 2)\n"),
        (
            "service/__main__.py",
            TURN,
            TURN
            + '        if not session.startswith("probe-"):\n'
            + '            self.server.agent.store.db.execute("PRAGMA user_version = 2")\n',
        ),
    ),
    "newer": (("substrate.toml", "reads = [1]\nwrites = 1", "reads = [1, 2]\nwrites = 2"),),
    "reaches": (("service/turns.py", "import json\n", "import json\nimport ssl\n"),),
    "dawdles": (
        (
            "service/__main__.py",
            TURN,
            '        time.sleep(0 if session.startswith("probe-") else 1.5)\n' + TURN,
        ),
    ),
    "slow_stream": (
        (
            "service/__main__.py",
            "        for event in events:\n",
            "        for event in events:\n            time.sleep(0.3)\n",
        ),
    ),
    "blind": (("service/state.py", "SCHEMA = 1\nREADS = (1,)\n", "SCHEMA = 2\nREADS = (2,)\n"),),
    "lossy": (
        ("service/state.py", "SCHEMA = 1\nREADS = (1,)\n", "SCHEMA = 2\nREADS = (1, 2)\n"),
        (
            "service/state.py",
            "        if self.schema not in READS:",
            '        self.db.execute(f"PRAGMA user_version = {SCHEMA}")\n        if self.schema not in READS:',
        ),
        ("substrate.toml", "reads = [1]\nwrites = 1", "reads = [1, 2]\nwrites = 2"),
    ),
}
"""Each edit: (file, text, replacement). Some that need a word: `abrupt` dies at once when
asked to end and leaves a mark of each turn that it did not finish; `lenient` is wrong and brings canaries that don't mind;
`blind` can't read what the base wrote;
`outgrows` moves the state, on live turns only, to a schema that the base can't read; `late_at_nine_tenths` is for a bake of
40 turns; `no_heartbeat` puts a folder where PID 1 writes its heartbeat.
Of the harness all kinds are good ones."""
KINDS = {
    **KINDS,
    **{f"lossy_{kind}": (*KINDS["lossy"], *KINDS[kind]) for kind in ("refuses", "late_bad", "late_death")},
}
GOOD_KINDS = ("good", "slow_boot")


def export_tiny(tree: Path, kind: str) -> None:
    """The tiny substrate with the edits of this kind."""
    shutil.copytree(TINY, tree, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in KINDS[kind]:
        path = tree / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{kind}: {old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
