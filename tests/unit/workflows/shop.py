"""A catalog with results and arguments of many types, and workflows over it that are right."""

from typing import Any

from workflows.catalog import Contract, Move, ToolSpec, catalog
from workflows.graph import Call, Literal, MapNode, OutputNode, Policy, Ref, ToolNode, Workflow

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def table(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


ITEM = table("name", "price", name=TEXT, price=NUMBER)
READS: dict[str, Any] = {"effect": "read", "idempotent": True}
TOOLS = catalog(
    [
        ToolSpec("shop", "find", "Find items.", table("query", query=TEXT, limit=NUMBER),
                 table("items", items={"type": "array", "items": ITEM}), **READS),
        ToolSpec("shop", "price", "Price of an item.", table("name", name=TEXT), table("price", price=NUMBER), **READS),
        ToolSpec("shop", "cost", "Cost of an item.", table("item", item=TEXT), table("price", price=NUMBER), **READS),
        ToolSpec("shop", "total", "Sum of prices.", table("prices", prices={"type": "array", "items": NUMBER}),
                 table("total", total=NUMBER), **READS),
        ToolSpec("shop", "order", "Order items.", table("name", name=TEXT, fast={"type": "boolean"}),
                 table("id", id=TEXT), effect="write"),
        ToolSpec("shop", "cancel", "Cancel an order.", table("id", id=TEXT)),
        ToolSpec("desk", "open", "Open the desk.", effect="write"),
        ToolSpec("desk", "use", "Use the desk.", effect="write"),
        ToolSpec("mail", "send", "Send a letter.", table("to", "text", to=TEXT, text=TEXT,
                 tone={"enum": ["kind", "curt"]})),
    ],
    [Contract("desk", "closed", {"desk/open": Move(("closed",), "open"), "desk/use": Move(("open",))})],
)  # fmt: skip
RIGHT = Workflow(
    "w",
    "",
    (
        ToolNode(id="find", tool="shop/find", arguments={"query": Ref("inputs.query"), "limit": Literal(3)},
                 policy=Policy(retries=1)),
        ToolNode(id="price", tool="shop/price", arguments={"name": Ref("find.items.0.name")}),
        ToolNode(id="again", tool="shop/price", arguments={"name": Ref("find.items.0.name")}),
        ToolNode(id="order", tool="shop/order", arguments={"name": Literal("tea")}, after=("price",)),
        ToolNode(id="sum", tool="shop/total", arguments={"prices": Literal([1])}),
        OutputNode(id="out", text="{a} {b} {c}", values={
            "a": Ref("price.price"), "b": Ref("again.price"), "c": Ref("sum.total")}),
    ),
    {"query": TEXT},
)  # fmt: skip

MAPPED = Workflow(
    "m",
    "",
    (
        MapNode(id="all", over=Literal(["tea"]), each=Call("shop/price", {"name": Ref("item")}), limit=9),
        OutputNode(id="out", text="{a}", values={"a": Ref("all.0.price")}),
    ),
)
