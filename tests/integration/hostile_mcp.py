"""An MCP server over stdio that misbehaves in one way, its first argument. Standard library only, so that it starts at once.

It has the tools `echo`, which behaves, and `act`, which misbehaves, unless the way is one that comes before any call.
"""

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

WAY = sys.argv[1]
ECHO = {"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}
ACT: dict[str, Any] = {"name": "act", "inputSchema": {"type": "object"}}
BANANA = {"type": "object", "properties": {"x": {"type": "banana"}}}
grown = False
asked = 0
writing = threading.Lock()


def say(message: dict[str, Any]) -> None:
    text(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def text(words: str) -> None:
    with writing:
        sys.stdout.write(words)
        sys.stdout.flush()


def result(number: int, value: Any) -> None:
    say({"id": number, "result": value})


def tools() -> list[dict[str, Any]]:
    found = [ECHO, ACT]
    if WAY == "input_is_no_schema":
        found = [ECHO, {**ACT, "inputSchema": BANANA}]
    if WAY == "output_lies":
        found = [ECHO, {**ACT, "outputSchema": {"type": "object", "properties": {"x": {"type": "integer"}}}}]
    if WAY == "output_is_no_schema":
        found = [ECHO, {**ACT, "outputSchema": BANANA}]
    if WAY == "output_reads_a_file":
        found = [ECHO, {**ACT, "outputSchema": {"type": "object", "$ref": f"file://{sys.argv[2]}"}}]
    if grown:
        found = [*found, {"name": "new", "inputSchema": {"type": "object"}}]
    return found


def listed(number: int, cursor: str | None) -> None:
    global asked
    asked += 1
    if WAY == "broken_listing":
        result(number, {"tools": [{"name": 3}]})
    elif WAY == "endless_pages":
        result(number, {"tools": [ECHO], "nextCursor": str(int(cursor or 0) + 1)})
    elif WAY == "circling_pages":
        result(number, {"tools": [ECHO], "nextCursor": "again"})
    else:
        result(number, {"tools": tools()})


def content(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def act(number: int, arguments: dict[str, Any]) -> None:
    global grown
    match WAY:
        case "dies_in_a_call":
            sys.stderr.write("boom\x1b[31m\n" + "x" * 100_000 + "the end\n")
            sys.stderr.flush()
            os._exit(7)
        case "hangs_in_a_call":
            return
        case "stops_reading":
            time.sleep(3600)
        case "output_lies":
            result(number, {**content("{}"), "structuredContent": {"x": "no integer"}})
        case "output_is_no_schema" | "output_reads_a_file":
            result(number, {**content("{}"), "structuredContent": {"x": 1}})
        case "large":
            result(number, content("x" * 10_000_000))
        case "endless_line":
            while True:
                text("x" * 65536)
        case "broken_answer":
            result(number, "no object")
        case "broken_result":
            result(number, {"content": "no list"})
        case "cut_answer":
            text(f'{{"jsonrpc": "2.0", "id": {number}, "result": {{"content"\n')
            os._exit(0)
        case "grows":
            grown = True
            say({"method": "notifications/tools/list_changed"})
            result(number, content(f"grown, asked {asked} times"))
        case "environment":
            result(number, content(json.dumps(dict(os.environ))))
        case "leaves_a_child":
            child = subprocess.Popen(["sleep", "3600"])
            result(number, content(json.dumps({"pid": child.pid})))
        case "asks_back":
            for index in range(2000):
                say({"id": f"q{index}", "method": "ping"})
            result(number, content("asked"))
        case "asks_for_a_model":
            say({"id": "q", "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}})
            result(number, content("asked"))
        case _:
            result(number, content("acted"))


def flood() -> None:
    while True:
        say({"method": "notifications/message", "params": {"level": "info", "data": "x" * 200}})


def answer(message: dict[str, Any]) -> None:
    number, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if number is None or method is None:
        return
    if WAY == "garbage":
        text('Welcome!\n{"a": \n[]\n17\n{"jsonrpc": "2.0", "id": 99999, "result": {}}\n\n\0\n')
    if method == "initialize":
        version = {
            "protocolVersion": params["protocolVersion"],
            "serverInfo": {"name": "hostile", "version": "1"},
        }
        result(number, {**version, "capabilities": {"tools": {"listChanged": True}}})
        if WAY == "floods":
            threading.Thread(target=flood, daemon=True).start()
    elif method == "tools/list":
        listed(number, params.get("cursor"))
    elif method == "tools/call" and params["name"] == "act":
        act(number, params.get("arguments") or {})
    elif method == "tools/call" and (params["name"] == "echo" or grown):
        result(number, content(str(params["arguments"].get("text"))))
    elif method == "server/discover" and WAY == "dies_of_the_new_protocol":
        os._exit(9)
    else:
        say({"id": number, "error": {"code": -32601, "message": f"no {method}"}})


def main() -> None:
    if WAY == "dies_at_start":
        sys.exit("there is no such thing as a free lunch")
    if WAY == "hangs_at_start":
        time.sleep(3600)
    for line in sys.stdin:
        answer(json.loads(line))


main()
