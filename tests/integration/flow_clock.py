"""The bundled harness with its own shipped clock spoilt, on the real time server: a sealed batch of wrong times."""

import sys
from pathlib import Path

from evolve_world import APPROVER, CONSENT, LISTEN, PASSPHRASE, REQUESTER, World, ask, running

from evolve.home import add_person, create_home
from evolve.settings import FILE_NAME, load_settings
from evolve.substrates import export_harness

FILE = "workflows/library/world_clock.json"
RIGHT, WRONG = '"target_timezone": {"ref": "inputs.second"}', '"target_timezone": {"ref": "inputs.first"}'
RULES = """
import re

AHEAD = {"Asia/Tokyo": 540, "Asia/Kathmandu": 345, "America/Lima": -300, "Asia/Kolkata": 330, "Asia/Dubai": 240}
ASKED = re.compile(r"(\\d\\d):(\\d\\d) in UTC is when in (\\S+) and (\\S+)[?]")


def clock_is_right(turn):
    found = ASKED.search(turn["request"]["messages"][-1]["content"])
    if found is None:
        return None
    hour, minute, *zones = found.groups()
    reply = turn["reply"]
    lines = reply["choices"][0]["message"]["content"].splitlines() if "choices" in reply else []
    for zone, line in zip(zones, lines + ["", ""]):
        then = (int(hour) * 60 + int(minute) + AHEAD[zone]) % 1440
        if not line.startswith(zone) or f"T{then // 60:02}:{then % 60:02}" not in line:
            return "the time of a zone is not told"
    return None


def some_answer(turn):
    return None if "choices" in turn["reply"] else "an error"
"""
SETTINGS = f"""
[tools.time]
command = "{Path(sys.executable).parent / "mcp-server-time"}"
args = ["--local-timezone", "UTC"]

[batch]
min_visible = 3
min_held_out = 8
min_regression = 30
max_visible = 3
max_held_out = 8
max_regression = 30
on_tool_miss = "live"

[run]
coder = "workflows"
depth = "light"
iterations = 1
coder_seconds = 240
workers = 2

[[rules]]
name = "clock"
file = "rules.py"
function = "clock_is_right"

[[graders]]
name = "clock"
kind = "rule"
file = "rules.py"
function = "clock_is_right"
applies = {{ regex = "is when in" }}

[[graders]]
name = "answer"
kind = "rule"
file = "rules.py"
function = "some_answer"
"""
ZONES = ("Asia/Tokyo", "Asia/Kathmandu", "America/Lima", "Asia/Kolkata", "Asia/Dubai")


def lay_out(tree: Path) -> None:
    export_harness(tree)
    text = (tree / FILE).read_text()
    assert text.count(RIGHT) == 1
    (tree / FILE).write_text(text.replace(RIGHT, WRONG))


def make_world(home: Path) -> World:
    """Nothing runs."""
    create_home(home, lay_out, "separate")
    (home / "rules.py").write_text(RULES)
    (home / FILE_NAME).write_text(LISTEN + SETTINGS + CONSENT)
    for name, roles in ((REQUESTER, ("operator",)), (APPROVER, ("approver",))):
        add_person(load_settings(home), name, roles, PASSPHRASE)
    world = World(home)
    with running(world) as url:
        assert {status for status, _ in ask(url, questions())} == {200}
        world.ok("scan")
        world.ok("batch", "seal", world.batch("clock"), "--reason", "enough of them")
    return world


def questions() -> list[str]:
    pairs = [(one, other) for one in ZONES for other in ZONES if one != other]
    asked = [f"{10 + n % 12}:15 in UTC is when in {a} and {b}?" for n, (a, b) in enumerate(pairs[:13])]
    return [*asked, *(f"/remember word {number}" for number in range(36))]
