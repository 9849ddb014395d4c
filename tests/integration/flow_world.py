"""The tiny service as one that ships a workflow and runs it when its trigger fits; the workflow is wrong. A real tool server
behind the gateway, a sealed batch of wrong answers."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evolve_world import APPROVER, CONSENT, LISTEN, PASSPHRASE, REQUESTER, World, ask, running

from evolve.home import add_person, create_home
from evolve.settings import FILE_NAME, load_settings
from evolve.substrates import export_tiny
from evolve.workflow_mend.layout import laid_out

FILE = "workflows/library/clock.json"
Table = dict[str, Any]
CLOCK: Table = {
    "v": 1,
    "name": "clock",
    "description": "What an hour in one zone is in two others.",
    "trigger": r"^clock (?P<hour>\d+) (?P<source>\w+) (?P<first>\w+) (?P<second>\w+)$",
    "inputs": {name: {"type": "string"} for name in ("hour", "source", "first", "second")},
    "nodes": [
        *(
            {
                "id": step,
                "kind": "tool",
                "tool": "zones/convert",
                "arguments": {
                    "hour": {"ref": "inputs.hour"},
                    "source": {"ref": "inputs.source"},
                    "target": {"ref": f"inputs.{step}"},
                },
            }
            for step in ("first", "second")
        ),
        {
            "id": "answer",
            "kind": "output",
            "text": "{first} and {second}",
            "values": {"first": {"ref": "first.target.hour"}, "second": {"ref": "second.target.hour"}},
        },
    ],
}
SERVER = r"""
import json, sys
ZONES = {"utc": 0, "tokyo": 9, "lima": -5, "cairo": 2, "denver": -7, "delhi": 5}
TEXT = {"type": "string"}
TOOLS = [
    {"name": name, "description": text, "inputSchema": {
        "type": "object", "properties": {"hour": TEXT, "source": TEXT, "target": TEXT},
        "required": ["hour", "source", "target"]}}
    for name, text in (("convert", "An hour elsewhere."), ("reverse", "The hour here when it is that hour elsewhere."))
]
def answer(method, params):
    if method == "initialize":
        about = {"name": "zones", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        return {"tools": TOOLS}
    told = params["arguments"]
    ahead = (ZONES[told["target"]] - ZONES[told["source"]]) * (1 if params["name"] == "convert" else -1)
    value = {"source": {"zone": told["source"], "hour": int(told["hour"])},
             "target": {"zone": told["target"], "hour": (int(told["hour"]) + ahead) % 24}}
    return {"content": [{"type": "text", "text": json.dumps(value)}], "isError": False}
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    try:
        reply = {"result": answer(message["method"], message.get("params", {}))}
    except (KeyError, ValueError) as error:
        reply = {"result": {"content": [{"type": "text", "text": f"no {error}"}], "isError": True}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}), flush=True)
"""
AGENT = '''\
    def shipped(self, turn: Turn, text: str) -> str | None:
        """What the first shipped workflow says whose trigger fits."""
        for path in sorted((Path(__file__).parents[1] / "workflows" / "library").glob("*.json")):
            table = json.loads(path.read_text())
            if found := re.search(table["trigger"], text):
                return self.flow(turn, table, {"inputs": found.groupdict()})
        return None

    def flow(self, turn: Turn, table: dict, values: dict) -> str:
        assert self.gateway
        asks = {"x-request-id": turn.request_id}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "tiny", "version": "1"}}
        self.gateway.rpc("zones", {"jsonrpc": "2.0", "id": 6, "method": "initialize", "params": hello}, asks)
        self.gateway.rpc("zones", {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {}}, asks)

        def take(argument: dict) -> object:
            value = values
            for part in argument["ref"].split(".") if "ref" in argument else ():
                value = value[part]
            return value if "ref" in argument else argument["value"]

        for node in table["nodes"]:
            if node["kind"] != "tool":
                continue
            given = {name: take(argument) for name, argument in node["arguments"].items()}
            server, _, tool = node["tool"].partition("/")
            call = {"call_id": f"{table['name']}_{node['id']}", "server": server, "tool": tool}
            turn.emit("tool_call", **call, arguments=given)
            content, is_error = self.gateway.call(server, tool, given, turn.request_id)
            turn.emit("tool_result", **call, content=content, is_error=is_error, ms=1.0)
            if is_error:
                return content
            values[node["id"]] = json.loads(content)
        output = next(node for node in table["nodes"] if node["kind"] == "output")
        return output["text"].format(**{name: take(argument) for name, argument in output["values"].items()})

    def perform('''
PATCHES = {
    "    def perform(": AGENT,
    "        name, _, rest = text.partition": "        if (said := self.shipped(turn, text)) is not None:\n"
    "            return said, None\n        name, _, rest = text.partition",
    "import os\n": "import os\nimport re\n",
    "from collections.abc import Callable\n": "from collections.abc import Callable\nfrom pathlib import Path\n",
}
RULES = """
ZONES = {"utc": 0, "tokyo": 9, "lima": -5, "cairo": 2, "denver": -7, "delhi": 5}


def clock_is_right(turn):
    words = turn["request"]["messages"][-1]["content"].split()
    if words[:1] != ["clock"]:
        return None
    hour, source, first, second = words[1:]
    wanted = [(int(hour) + ZONES[zone] - ZONES[source]) % 24 for zone in (first, second)]
    reply = turn["reply"]
    got = reply["choices"][0]["message"]["content"] if "choices" in reply else ""
    return None if got == f"{wanted[0]} and {wanted[1]}" else "wrong hours"


def some_answer(turn):
    return None if "choices" in turn["reply"] else "an error"
"""
SETTINGS = f"""
[tools.zones]
command = "{sys.executable}"
args = ["{{home}}/zones.py"]

[batch]
min_visible = 3
min_held_out = 8
min_regression = 30
max_visible = 3
max_held_out = 8
max_regression = 30
on_tool_miss = "live"

[run]
coder = "idle"
depth = "light"
iterations = 1
coder_seconds = 60
workers = 2

[swap]
bake_seconds = 10
bake_turns = 50
disk_reserve_bytes = 0

[coders.idle]
argv = ["/bin/true"]

[[rules]]
name = "clock"
file = "rules.py"
function = "clock_is_right"

[[graders]]
name = "clock"
kind = "rule"
file = "rules.py"
function = "clock_is_right"
applies = {{{{ regex = "^clock " }}}}

[[graders]]
name = "answer"
kind = "rule"
file = "rules.py"
function = "some_answer"
"""
ZONES = ("tokyo", "lima", "cairo", "denver", "delhi")


def service_with(table: Table) -> Callable[[Path], None]:
    """The service with this workflow."""

    def lay_out(tree: Path) -> None:
        export_tiny(tree)
        source = tree / "service" / "turns.py"
        text = source.read_text()
        for old, new in PATCHES.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        source.write_text(text)
        manifest = tree / "substrate.toml"
        told = manifest.read_text()
        assert 'editable = ["/service/"]' in told
        manifest.write_text(told.replace('["/service/"]', '["/service/", "/workflows/"]'))
        (tree / FILE).parent.mkdir(parents=True)
        (tree / FILE).write_bytes(laid_out(table, table))

    return lay_out


def make_world(home: Path, table: Table) -> World:
    """With a sealed batch of wrong hours; nothing runs."""
    create_home(home, service_with(table), "separate")
    (home / "rules.py").write_text(RULES)
    (home / "zones.py").write_text(SERVER)
    (home / FILE_NAME).write_text(LISTEN + SETTINGS.format(home=home) + CONSENT)
    for name, roles in ((REQUESTER, ("operator",)), (APPROVER, ("approver",))):
        add_person(load_settings(home), name, roles, PASSPHRASE)
    world = World(home)
    with running(world) as url:
        assert {status for status, _ in ask(url, questions())} == {200}
        world.ok("scan")
        sealed = world.ok("batch", "seal", world.batch("clock"), "--reason", "enough of them")
    assert (sealed["visible"] >= 3, sealed["held_out"], sealed["regression"]) == (True, 8, 30), sealed
    return world


def questions() -> list[str]:
    """Thirteen about two zones each, some about one zone twice, and enough that is no workflow's."""
    pairs = [(one, other) for one in ZONES for other in ZONES if one != other][:13]
    clocks = [f"clock {n % 12} utc {one} {other}" for n, (one, other) in enumerate(pairs)]
    return [
        *clocks,
        *(f"clock {n} cairo {z} {z}" for n, z in enumerate(ZONES)),
        *(f"upper word{n}" for n in range(30)),
    ]
