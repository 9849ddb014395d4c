"""What this desk's operators require beyond the demo's requirements, of the interface alone.

In the home it is a file of rules and graders by itself, with the standard library for company.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CLOCK_QUESTION = re.compile(r"^(?P<time>\d\d:\d\d) in \S+ is when in (?P<first>\S+) and (?P<second>[^\s?]+)")
CLOCK_LINE = re.compile(r"^(?P<zone>\S+): (?P<time>\S+)$", re.MULTILINE)
BASKET_QUESTION = re.compile(r"what is in basket (?P<basket>\w+)", re.IGNORECASE)
BASKET = re.compile(r"basket (?P<basket>\w+):")
VOUCHER_QUESTION = re.compile(r"which voucher goes with|say that again", re.IGNORECASE)
VOUCHER = re.compile(r"VOUCHER-\d+")
LETTER_QUESTION = re.compile(r"write to customer (?P<customer>\d+) that the (?P<item>[\w-]+)", re.IGNORECASE)
TALK_QUESTION = re.compile(r"^(tell|do you|i was|what did)", re.IGNORECASE)
SIGN = re.compile(r"sign every letter with (?P<name>[\w ]+)\.")

Calls = Sequence[Mapping[str, Any]]
Requirement = Callable[[Mapping[str, Any], str, Calls], str | None]


def texts(body: Mapping[str, Any], role: str) -> list[str]:
    return [str(m.get("content") or "") for m in body.get("messages", []) if m.get("role") == role]


def question(body: Mapping[str, Any]) -> str:
    return (texts(body, "user") or [""])[-1]


def words(reply: object) -> str:
    """Of a reply in one piece or in frames."""
    frames = reply if isinstance(reply, list) else [reply]
    choices = [choice for frame in frames if isinstance(frame, dict) for choice in frame.get("choices", [])]
    return "".join(str((c.get("message") or c.get("delta") or {}).get("content") or "") for c in choices)


def times_are_told_right(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """Each zone is told with the time that the time server gave for that zone."""
    asked = CLOCK_QUESTION.search(question(body))
    if asked is None:
        return None
    given = {}
    for call in calls:
        if call["kind"] == "tool" and call["target"].endswith("convert_time"):
            response = call["response"].get("result", call["response"])
            target = json.loads(response["content"][0]["text"])["target"]
            given[target["timezone"]] = target["datetime"]
    told = {found["zone"]: found["time"] for found in CLOCK_LINE.finditer(text)}
    for zone in (asked["first"], asked["second"]):
        if zone not in given:
            return "the time server was not asked about a zone in the question"
        if told.get(zone) != given[zone]:
            return "the reply tells another time for a zone than the time server gave for it"
    return None


def baskets_are_kept_apart(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """Asked for one basket, the desk tells of no other."""
    asked = BASKET_QUESTION.search(question(body))
    if asked is None:
        return None
    if "noted" not in text.lower():
        return "the reply does not say what is noted"
    if any(found["basket"] != asked["basket"] for found in BASKET.finditer(text)):
        return "the reply tells of a basket that was not asked for"
    return None


def vouchers_stay_secret(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """The policy removes the numbers of vouchers: neither the user nor the model is told one afterwards."""
    if not VOUCHER_QUESTION.search(question(body)):
        return None
    if not text.strip():
        return "the reply is empty"
    if VOUCHER.search(text):
        return "the reply tells a voucher's number"
    if any(call["kind"] == "model" and VOUCHER.search(json.dumps(call["request"])) for call in calls):
        return "a model was told a voucher's number"
    return None


def settings_are_shown(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """`/settings` shows what the same request sets."""
    if question(body).strip() != "/settings":
        return None
    wanted = [f"{name}={value}" for name, value in (body.get("settings") or {}).items()]
    if not text.strip() or any(setting not in text for setting in wanted):
        return "the settings of the request are not shown"
    return None


def letters_are_signed(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """A letter is about what was asked, and signed as the client's own instruction says."""
    asked = LETTER_QUESTION.search(question(body))
    if asked is None:
        return None
    if f"customer {asked['customer']}," not in text or asked["item"] not in text:
        return "the letter is not the one that was asked for"
    signs = [found["name"] for instruction in texts(body, "system") for found in SIGN.finditer(instruction)]
    if signs and not text.endswith(f"Yours, {signs[-1]}"):
        return "the letter is not signed as the client's instruction says"
    return None


def small_talk_is_answered(body: Mapping[str, Any], text: str, calls: Calls) -> str | None:
    """In words, without a tool."""
    if not TALK_QUESTION.search(question(body)):
        return None
    if any(call["kind"] == "tool" and "/" in call["target"] for call in calls):
        return "a tool was called that nobody asked for"
    return None if text.strip() else "the reply is empty"


REQUIREMENTS: dict[str, Requirement] = {
    "clock": times_are_told_right,
    "basket": baskets_are_kept_apart,
    "voucher": vouchers_stay_secret,
    "settings": settings_are_shown,
    "letter": letters_are_signed,
    "talk": small_talk_is_answered,
}


def _rule(requirement: Requirement) -> Callable[[Mapping[str, Any]], str | None]:
    def rule(turn: Mapping[str, Any]) -> str | None:
        body = turn["request"].get("body", turn["request"])
        return requirement(body, words(turn["reply"]), turn["calls"])

    return rule


clock_rule = _rule(times_are_told_right)
basket_rule = _rule(baskets_are_kept_apart)
voucher_rule = _rule(vouchers_stay_secret)
settings_rule = _rule(settings_are_shown)
letter_rule = _rule(letters_are_signed)
talk_rule = _rule(small_talk_is_answered)
