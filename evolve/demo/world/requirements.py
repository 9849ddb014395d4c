"""What the shop desk's operators require of the service's interface, written before any traffic.

Each requirement looks at a question, at what the tools were really asked and really answered (the gateway's record, not
the service's own), and at the reply. As rules they judge live turns; as graders they judge replays. They know nothing of
how the service is built.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ORDER_LIMIT = 20
STOCK_LINE = re.compile(r"(?P<item>[\w-]+): (?P<count>\d+) in stock")
PRICE_LINE = re.compile(r"(?P<item>[\w-]+): (?P<amount>[\d.]+) (?P<currency>[A-Z]{3})\b")
STOCK_QUESTION = re.compile(r"how many (?P<items>.+?) are in stock", re.IGNORECASE)
PRICE_QUESTION = re.compile(r"what does (?P<item>[\w-]+) cost", re.IGNORECASE)
ORDER_QUESTION = re.compile(r"order (?P<quantity>\d+) (?P<item>[\w-]+)", re.IGNORECASE)

Calls = Sequence[Mapping[str, Any]]
Requirement = Callable[[Mapping[str, Any], str, Calls], str | None]


def question_of(body: Mapping[str, Any]) -> str:
    users = [m for m in body.get("messages", []) if m.get("role") == "user"]
    return str(users[-1].get("content", "")) if users else ""


def reply_text(reply: object) -> str:
    """The assistant's words of a chat-completions reply, streamed or not."""
    frames = reply if isinstance(reply, list) else [reply]
    words = []
    for frame in frames:
        for choice in frame.get("choices", []) if isinstance(frame, dict) else []:
            message = choice.get("message") or choice.get("delta") or {}
            words.append(str(message.get("content") or ""))
    return "".join(words)


def tool_results(calls: Calls, tool: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(arguments, result) of every call of a tool that the gateway saw answered."""
    found = []
    for call in calls:
        if call["kind"] != "tool" or call["target"].rpartition("/")[2] != tool:
            continue
        request = call["request"]
        arguments = request.get("arguments", request.get("params", {}).get("arguments", {}))
        response = call["response"]
        content = response.get("content", response.get("result", {}).get("content", []))
        text = "".join(part.get("text", "") for part in content)
        try:
            found.append((arguments, json.loads(text)))
        except ValueError:
            found.append((arguments, {}))
    return found


def stock_is_told_right(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """Every item that was asked for is told with the count that the shop gave for that item."""
    asked = STOCK_QUESTION.search(question_of(body))
    if asked is None:
        return None
    counts = {
        arguments.get("item"): result.get("count") for arguments, result in tool_results(calls, "stock")
    }
    told = {found["item"]: int(found["count"]) for found in STOCK_LINE.finditer(text)}
    for item in re.split(r",\s*|\s+and\s+", asked["items"]):
        if item not in counts:
            return "the shop was not asked about an item in the question"
        if told.get(item) != counts[item]:
            return "the reply tells another count for an item than the shop gave for it"
    return None


def price_is_in_the_sessions_currency(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """A price is told in the currency that the request's own settings name, else in USD, and as the shop gave it."""
    asked = PRICE_QUESTION.search(question_of(body))
    if asked is None:
        return None
    wanted = (body.get("settings") or {}).get("currency", "USD")
    told = PRICE_LINE.search(text)
    if told is None:
        return "the reply tells no price"
    if told["currency"] != wanted:
        return "the reply tells a price in a currency that this session did not ask for"
    given = [
        result for arguments, result in tool_results(calls, "price") if arguments.get("item") == asked["item"]
    ]
    if not any(f"{result.get('cents', 0) / 100:.2f}" == told["amount"] for result in given):
        return "the reply tells another price than the shop gave"
    return None


def orders_keep_the_limit(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """No order above the limit reaches the shop; the reply says that it was refused; others are placed once."""
    asked = ORDER_QUESTION.search(question_of(body))
    if asked is None:
        return None
    placed = tool_results(calls, "order")
    if int(asked["quantity"]) > ORDER_LIMIT:
        if placed:
            return "an order above the limit reached the shop"
        return None if "refused" in text else "the reply does not say that the order was refused"
    if len(placed) != 1 or placed[0][0] != {"item": asked["item"], "quantity": int(asked["quantity"])}:
        return "the shop did not get exactly the order that was asked for"
    return None if str(placed[0][1].get("order")) in text else "the reply does not tell the order's number"


def small_talk_is_answered(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """Whatever needs no tool is answered in words, without calling one."""
    question = question_of(body)
    if any(pattern.search(question) for pattern in (STOCK_QUESTION, PRICE_QUESTION, ORDER_QUESTION)):
        return None
    if any(call["kind"] == "tool" and "/" in call["target"] for call in calls):
        return "a tool was called that nobody asked for"
    return None if text.strip() else "the reply is empty"


REQUIREMENTS: dict[str, Requirement] = {
    "stock": stock_is_told_right,
    "price": price_is_in_the_sessions_currency,
    "order": orders_keep_the_limit,
    "talk": small_talk_is_answered,
}


def _rule(requirement: Requirement) -> Callable[[Mapping[str, Any]], str | None]:
    def rule(turn: Mapping[str, Any]) -> str | None:
        body = turn["request"].get("body", turn["request"])
        return requirement(body, reply_text(turn["reply"]), turn["calls"])

    return rule


stock_rule = _rule(stock_is_told_right)
price_rule = _rule(price_is_in_the_sessions_currency)
order_rule = _rule(orders_keep_the_limit)
talk_rule = _rule(small_talk_is_answered)
