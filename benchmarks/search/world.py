"""A catalog, graphs of any size over it that are right, and tools that answer after a while, all in this process."""

import asyncio
from collections.abc import Mapping
from typing import Any

from benchmarks.engine.shapes import Shape
from workflows.calling import ModelRequest, Outcome, ToolRequest
from workflows.catalog import Catalog, ToolSpec, catalog
from workflows.graph import Argument, Literal, OutputNode, Ref, ToolNode, Workflow

SECONDS = 0.003
"""Of a call: what a warm one to a real server on this machine takes."""
WIDEST = 3
"""Steps that a step takes from."""
PRICES = {"tea": 4, "oil": 7, "fig": 9}


def table(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
READS: Mapping[str, Any] = {"effect": "read", "idempotent": True}
NUMBERS = {f"a{place}": NUMBER for place in range(WIDEST)}
TOOLS: Catalog = catalog(
    [
        ToolSpec("sum", "add", "Add numbers.", table("a0", **NUMBERS), table("sum", sum=NUMBER), **READS),
        ToolSpec("shop", "names", "Names of items.", table("first", first=TEXT), table("next", next=TEXT), **READS),
        ToolSpec("shop", "price", "Price of an item.", table("name", name=TEXT), table("price", price=NUMBER), **READS),
        ToolSpec("shop", "order", "Order an item.", table("name", "price", name=TEXT, price=NUMBER),
                 table("id", id=TEXT), effect="write"),
    ]
)  # fmt: skip


def graph(shape: Shape) -> Workflow:
    """One call a step, typed on both ends."""
    nodes = [
        ToolNode(id=f"n{index}", tool="sum/add", arguments=_arguments(needs))
        for index, needs in enumerate(shape)
    ]
    read = {other for needs in shape for other in needs}
    last = {f"v{index}": Ref(f"n{index}.sum") for index in range(len(shape)) if index not in read}
    return Workflow("bench", "", (*nodes, OutputNode(id="out", text="", values=last)))


def _arguments(needs: list[int]) -> dict[str, Argument]:
    return {f"a{place}": Ref(f"n{other}.sum") for place, other in enumerate(needs[:WIDEST])} or {
        "a0": Literal(1)
    }


class Shop:
    """A caller."""

    def __init__(self) -> None:
        self.calls = 0
        self.orders: list[dict[str, object]] = []

    async def tool(self, request: ToolRequest) -> Outcome:
        self.calls += 1
        await asyncio.sleep(SECONDS)
        given: Any = request.arguments
        match request.tool:
            case "sum/add":
                return Outcome({"sum": sum(given.values())})
            case "shop/names":
                names = sorted(PRICES)
                known = names.index(given["first"]) if given["first"] in names else -1
                return Outcome({"next": names[(known + 1) % len(names)]})
            case "shop/price":
                price = PRICES.get(given["name"])
                return Outcome({"price": price}) if price else Outcome(None, f"there is no {given['name']}")
        self.orders.append(given)
        return Outcome({"id": f"{given['name']} at {given['price']}"})

    async def model(self, request: ModelRequest) -> Outcome:
        return Outcome(None, "there is no model")

    def repeatable(self, tool: str) -> bool:
        return tool != "shop/order"
