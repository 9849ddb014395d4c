"""A time server for the shipped workflow `world_clock` (MCP on stdio, standard library only).

Like the shop, it takes some milliseconds that depend on what is asked.
"""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

DAY = date(2025, 3, 3)
NAMES = ("source_timezone", "time", "target_timezone")
TOOL = {
    "name": "convert_time",
    "description": "What a time of day in one zone is in another.",
    "inputSchema": {
        "type": "object",
        "properties": {name: {"type": "string"} for name in NAMES},
        "required": list(NAMES),
        "additionalProperties": False,
    },
}
_OUTPUT = threading.Lock()


def convert(source_timezone: str, time_of_day: str, target_timezone: str) -> dict[str, object]:
    moment = datetime.combine(DAY, datetime.strptime(time_of_day, "%H:%M").time(), ZoneInfo(source_timezone))
    there = moment.astimezone(ZoneInfo(target_timezone))
    return {"target": {"timezone": target_timezone, "datetime": there.isoformat(timespec="minutes")}}


def call(arguments: Mapping[str, str]) -> dict[str, object]:
    zone = arguments["target_timezone"]
    time.sleep((2 + hashlib.sha256(zone.encode()).digest()[0] % 23) / 1000)
    found = convert(arguments["source_timezone"], arguments["time"], zone)
    return {"content": [{"type": "text", "text": json.dumps(found)}], "isError": False}


def result_of(method: str, params: Mapping[str, Any]) -> dict[str, object] | None:
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "time", "version": "1.0"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return call(params["arguments"])
    return {} if method == "ping" else None


def serve(line: str) -> None:
    message = json.loads(line)
    if "id" not in message:
        return
    result = result_of(message["method"], message.get("params") or {})
    answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "no method"}}
    with _OUTPUT:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


def main() -> None:
    for line in sys.stdin:
        if line.strip():
            threading.Thread(target=serve, args=(line,)).start()


if __name__ == "__main__":
    main()
