"""The demo's tool server: a small shop behind the Model Context Protocol (stdio, one JSON-RPC message a line).

Standard library only. Answers take some milliseconds that depend on the item, so that of two calls made together the
second often ends first, as it does with real tools.
"""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

RATES = {"USD": 100, "EUR": 92, "GBP": 79, "CHF": 88, "JPY": 14900}
_OUTPUT = threading.Lock()
_ORDERS = threading.Lock()


def number(item: str, salt: str, low: int, high: int) -> int:
    """A stable pseudo-random number for an item."""
    raw = hashlib.sha256(f"{salt}:{item}".encode()).digest()
    return low + int.from_bytes(raw[:4], "big") % (high - low + 1)


def stock(item: str) -> dict[str, object]:
    time.sleep(number(item, "delay", 2, 24) / 1000)
    return {"item": item, "count": number(item, "stock", 1, 900)}


def price(item: str, currency: str = "USD") -> dict[str, object]:
    if currency not in RATES:
        return {"ok": False, "error": f"unknown currency {currency}"}
    cents = number(item, "price", 100, 9900) * RATES[currency] // 100
    return {"item": item, "cents": cents, "currency": currency}


def order(item: str, quantity: int) -> dict[str, object]:
    with _ORDERS:
        return {"item": item, "quantity": quantity, "order": f"{item[:3].upper()}-{quantity:04d}"}


def _tool(name: str, description: str, properties: dict[str, str], required: list[str]) -> dict[str, object]:
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": required,
        "additionalProperties": False,
    }
    return {"name": name, "description": description, "inputSchema": schema}


TOOLS = [
    _tool("stock", "How many of an item are in stock.", {"item": "string"}, ["item"]),
    _tool("price", "What an item costs.", {"item": "string", "currency": "string"}, ["item"]),
    _tool(
        "order",
        "Order a quantity of an item.",
        {"item": "string", "quantity": "integer"},
        ["item", "quantity"],
    ),
]
FUNCTIONS: dict[str, Callable[..., dict[str, object]]] = {"stock": stock, "price": price, "order": order}


def call(params: Mapping[str, Any]) -> dict[str, object]:
    """`tools/call`: the result as text content, errors marked as such."""
    try:
        result = FUNCTIONS[params["name"]](**params.get("arguments", {}))
    except (KeyError, TypeError) as error:
        return {"content": [{"type": "text", "text": f"bad call: {error}"}], "isError": True}
    return {"content": [{"type": "text", "text": json.dumps(result)}], "isError": False}


def answer(message: Mapping[str, Any]) -> dict[str, object] | None:
    """The response to one JSON-RPC message; None for notifications."""
    method, params = message.get("method"), message.get("params") or {}
    if "id" not in message:
        return None
    results: dict[str, Any] = {
        "initialize": lambda: {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "shop", "version": "1.0"},
        },
        "ping": dict,
        "tools/list": lambda: {"tools": TOOLS},
        "tools/call": lambda: call(params),
    }
    if method not in results:
        error = {"code": -32601, "message": f"no method {method}"}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": results[method]()}


def serve(line: str) -> None:
    response = answer(json.loads(line))
    if response is not None:
        with _OUTPUT:
            print(json.dumps(response), flush=True)


def main() -> None:
    """One thread a message: slow calls don't hold quick ones up."""
    for line in sys.stdin:
        if line.strip():
            threading.Thread(target=serve, args=(line,)).start()


if __name__ == "__main__":
    main()
