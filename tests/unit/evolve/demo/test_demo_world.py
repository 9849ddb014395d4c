"""The demo's requirements tell right from wrong, and its model believes what it is given."""

import json

import pytest

from evolve.demo.traffic import visits
from evolve.demo.world import model, requirements, shop


def call(tool: str, arguments: dict[str, object], result: dict[str, object]) -> dict[str, object]:
    content = {"content": [{"type": "text", "text": json.dumps(result)}], "isError": False}
    return {
        "kind": "tool",
        "target": f"shop/{tool}",
        "request": {"name": tool, "arguments": arguments},
        "response": {"result": content},
    }


def body(text: str, **settings: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], **({"settings": settings} if settings else {})}


STOCK = [call("stock", {"item": "pen"}, {"count": 5}), call("stock", {"item": "ink"}, {"count": 7})]
EUR = [call("price", {"item": "pen", "currency": "EUR"}, {"cents": 250, "currency": "EUR"})]
ORDER = [call("order", {"item": "pen", "quantity": 3}, {"order": "PEN-0003"})]


@pytest.mark.parametrize(
    ("name", "asked", "text", "calls", "right"),
    [
        (
            "stock",
            body("How many pen and ink are in stock?"),
            "pen: 5 in stock; ink: 7 in stock",
            STOCK,
            True,
        ),
        (
            "stock",
            body("How many pen and ink are in stock?"),
            "pen: 7 in stock; ink: 5 in stock",
            STOCK,
            False,
        ),
        ("stock", body("How many pen and rope are in stock?"), "pen: 5 in stock", STOCK, False),
        ("price", body("What does pen cost?", currency="EUR"), "pen: 2.50 EUR", EUR, True),
        ("price", body("What does pen cost?"), "pen: 2.50 EUR", EUR, False),
        ("price", body("What does pen cost?", currency="EUR"), "pen: 9.99 EUR", EUR, False),
        ("order", body("Please order 3 pen"), "pen: ordered 3 as PEN-0003", ORDER, True),
        ("order", body("Please order 30 pen"), "pen: refused (out of bounds)", [], True),
        ("order", body("Please order 30 pen"), "pen: refused (out of bounds)", ORDER, False),
        ("talk", body("Do you like pen or ink better?"), "You said: …", [], True),
        ("talk", body("Do you like pen or ink better?"), "You said: …", ORDER, False),
    ],
)
def test_a_requirement_judges_what_the_tools_were_really_asked(
    name: str, asked: dict[str, object], text: str, calls: list[dict[str, object]], right: bool
) -> None:
    assert (requirements.REQUIREMENTS[name](asked, text, calls) is None) is right


def test_the_model_reads_each_result_under_its_own_call() -> None:
    asks = model.reply(
        {
            "messages": [{"role": "user", "content": "How many pen and ink are in stock?"}],
            "tools": [{"function": {"name": "shop__stock"}}],
        }
    )
    first, second = (ask["id"] for ask in asks["tool_calls"])
    results = [
        {"role": "tool", "tool_call_id": second, "content": '{"count": 7}'},
        {"role": "tool", "tool_call_id": first, "content": '{"count": 5}'},
    ]
    answer = model.reply({"messages": [{"role": "user", "content": "How many?"}, asks, *results]})
    assert answer["content"] == "pen: 5 in stock; ink: 7 in stock"


def test_the_shop_speaks_json_rpc() -> None:
    listed = shop.answer({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert listed is not None
    assert {tool["name"] for tool in listed["result"]["tools"]} == {"stock", "price", "order"}  # type: ignore[index]
    assert shop.answer({"jsonrpc": "2.0", "method": "notifications/initialized"}) is None
    assert shop.call({"name": "price", "arguments": {"item": "pen", "nonsense": 1}})["isError"] is True


def test_visits_are_the_same_for_a_seed_and_enough() -> None:
    assert visits(100, 3) == visits(100, 3)
    assert visits(100, 3) != visits(100, 4)
    assert sum(map(len, visits(100, 3))) >= 100
