"""The tiny service as an agent that asks a model and makes the tool calls that it wants, a model that can be told what to
say, a real tool server, and batches of turns recorded from all of them."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat_model import ChatModel, Json, Say, chat_model, words
from pydantic import TypeAdapter
from trial_batch import World
from trial_support import build, text_of, tiny_tree

from containers.engine import get_runtime
from containers.runtime import ImageRef
from evidence.cases import CaseContent, Cassette, RecordedTurn, SealedBatch, VisibleCase
from trial.arena import Arena
from trial.gateway import GatewayConfig, ToolServer, Upstream
from trial.graders import GraderConfig, load_graders
from trial.plan import Job
from trial.replay import Replay

AGENT = '''\
def converse(gateway: Gateway, turn: Turn, text: str) -> str:
    """Asks the model, with the shop's tools, until it answers."""
    headers = {"x-request-id": turn.request_id}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "tiny", "version": "1"}}
    gateway.rpc("shop", {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}, headers)
    listed = gateway.rpc("shop", {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}, headers)
    tools = [
        {
            "type": "function",
            "function": {
                "name": "shop__" + tool["name"],
                "description": tool["description"],
                "parameters": tool["inputSchema"],
            },
        }
        for tool in listed["result"]["tools"]
    ]
    messages = [{"role": "system", "content": "Help."}, {"role": "user", "content": text}]
    for _ in range(4):
        body = {"model": "default", "messages": messages, "tools": tools}
        status, _, data = gateway.post("/v1/chat/completions", body, headers)
        if status != 200:
            raise ConnectionError(f"the model answered {status}")
        message = json.loads(data)["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            return str(message["content"])
        for ask in message["tool_calls"]:
            name, arguments = ask["function"]["name"], json.loads(ask["function"]["arguments"])
            content, _ = gateway.call("shop", name.removeprefix("shop__"), arguments, turn.request_id)
            messages.append({"role": "tool", "tool_call_id": ask["id"], "content": content})
    return "too many steps"


'''
"""As it stands it hands everything on."""
RESULT = '"tool_call_id": ask["id"], "content": content}'
MESSAGE_OF_A_TOOL = 'messages.append({"role": "tool", "tool_call_id": ask["id"], "content": content})'
CALL = 'content, _ = gateway.call("shop", name.removeprefix("shop__"), arguments, turn.request_id)'
USER = '{"role": "user", "content": text}'
MESSAGES = '    messages = [{"role": "system"'
TOOLS = 'for tool in listed["result"]["tools"]'

SERVER = r"""
import json, sys
TOOLS = [
    {"name": name, "description": f"The {name} of an order.", "inputSchema": {
        "type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}}
    for name in ("state", "price")
]
def answer(method, params):
    if method == "initialize":
        about = {"name": "shop", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
    if method == "tools/list":
        return {"tools": TOOLS}
    text = f"{params['name']} of {params['arguments'].get('id')}: fine"
    return {"content": [{"type": "text", "text": text}], "isError": False}
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message["method"], message.get("params", {}))}
        print(json.dumps(reply), flush=True)
"""
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
CATALOG: dict[str, object] = {
    "shop": {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "shop", "version": "1"},
        },
        "tools/list": {
            "tools": [
                {"name": name, "description": f"The {name} of an order.", "inputSchema": SCHEMA}
                for name in ("state", "price")
            ]
        },
    }
}
GRADERS: list[Json] = [
    {"kind": "exact", "name": "words", "expected_path": "$.body.wanted", "applies": {"regex": "^Is order"}},
    {
        "kind": "tool_trace",
        "name": "looks",
        "required": [{"tool": "shop/state", "from_request": {"id": "$.body.order"}}],
        "applies": {"regex": "^Is order"},
    },
    {"kind": "regex", "name": "unsure", "pattern": "^sure", "applies": {"regex": "^Are you"}},
]


def asks(tool: str, **arguments: str) -> Json:
    function = {"name": f"shop__{tool}", "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


def order_in(messages: list[Json]) -> str:
    return str(next(m["content"] for m in messages if m["role"] == "user").split()[2])


def told(messages: list[Json]) -> str:
    return "".join(str(m["content"]) for m in messages if m["role"] == "tool")


@dataclass
class Shop(World):
    """Its `batch` is made by `record`."""

    upstream: ChatModel | None = None

    def agent(self, *patches: tuple[str, str]) -> ImageRef:
        """The service with these defects."""
        self.built += 1
        return _image(self, self.home / f"tree-{self.built}", *patches)

    def env(self, name: str, seed: int) -> str:
        """What an instance with this seed has in its environment."""
        job = Job(_case(f"env {name}"), "baseline", self.baseline.digest, seed)
        [played] = self.arena.play([job], lambda _, replay: text_of(replay))
        assert played.value is not None
        return played.value

    def record(self, image: ImageRef, model: Say, *texts: str, **more: object) -> SealedBatch:
        """Turns as they went on this image with this model: all of them visible cases, their calls as the gateway saw
        them."""
        assert self.upstream is not None
        self.upstream.say = model
        blank = [_case(text, on_tool_miss="live") for text in texts]
        jobs = [Job(case, "baseline", image.digest, 1) for case in blank]
        played = list(self.arena.play(jobs, lambda job, replay: replay))
        cases = [_recorded(self, case, one.value, more) for case, one in zip(blank, played, strict=True)]
        self.batch = SealedBatch(
            id="b1", fingerprint="f", title="t", substrate="tiny", baseline_digest=image.digest,
            baseline_commit="c", graders_digest=self.graders.digest, sealed_at="", sealed_by="test",
            visible=tuple(cases), held_out=(), regression=(),
        )  # fmt: skip
        return self.batch


def _case(text: str, **more: object) -> VisibleCase:
    number = "".join(letter for letter in text if letter.isdigit())
    body = {
        "messages": [{"role": "user", "content": text}],
        "order": number,
        "wanted": f"state of {number}: fine",
    }
    turn = RecordedTurn(
        request_id=f"r{number}", session=f"s{number}", path="/v1/chat/completions", body=body, status=200, started=1.7e9
    )  # fmt: skip
    fields = {"id": text, "evidence_id": "e", "fingerprint": "f", "turn": turn}
    return VisibleCase.model_validate({**fields, "cassette": Cassette(catalog=CATALOG), **more})


def _recorded(shop: Shop, blank: VisibleCase, replay: Replay | None, more: dict[str, object]) -> VisibleCase:
    assert replay is not None
    calls = tuple(call for call in replay.calls if "#" not in call.target)
    case = _case(blank.id, cassette=Cassette(calls=calls, catalog=CATALOG), **more)
    refs = shop.graders.refs_for(CaseContent(**{n: getattr(case, n) for n in CaseContent.model_fields}))
    return case.model_copy(update={"graders": refs})


def _image(shop: World, folder: Path, *patches: tuple[str, str]) -> ImageRef:
    tree = tiny_tree(folder)
    path = tree / "service" / "turns.py"
    agent = AGENT
    for old, new in patches:
        assert agent.count(old) == 1, old
        agent = agent.replace(old, new)
    text = path.read_text()
    for old, new in (
        ("class Agent:\n", agent + "class Agent:\n"),
        ("        return text, None\n", "        return converse(self.gateway, turn, text), None\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    return build(shop.runtime, tree)[0]


@contextmanager
def open_shop(home: Path, tables: Sequence[Json] = tuple(GRADERS)) -> Iterator[Shop]:
    """Nothing runs afterwards."""
    runtime = get_runtime("bubblewrap", home)
    with chat_model(lambda messages: words("")) as upstream:
        config = GatewayConfig(
            socket=home / "unused.sock",
            mode="live",
            upstream=Upstream(base_url=upstream.url),
            servers={
                "shop": ToolServer(command=(sys.executable, "-c", SERVER)),
                "dead": ToolServer(command=("/bin/false",)),
            },
        )
        graders: list[GraderConfig] = TypeAdapter(list[GraderConfig]).validate_python(list(tables))
        shop: Any = Shop(home, runtime, None, None, None, None, upstream=upstream)  # type: ignore[arg-type]
        shop.baseline, manifest = build(runtime, tiny_tree(home / "tree-0"))
        with (
            load_graders(graders, home, runtime) as shop.graders,
            Arena(runtime, manifest, workdir=home / "arena", gateway_config=config, workers=2) as shop.arena,
        ):
            yield shop
    assert runtime.find({}) == []
