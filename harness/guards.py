"""The hooks that the service ships with: limits, session settings, tool policy, redaction."""

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from harness.hooks import ALLOW, Chain, Change, Decision, Deny, Hook, Hooks
from harness.settings import Limits, Policy, ToolPolicy, matches
from harness.turn import Message, ModelReply, ModelRequest, ToolCall, ToolResult, TurnContext, TurnRequest
from workflows.schemas import UNREADABLE, validator

SET_LINE = re.compile(r"^/set\s+(?P<name>[A-Za-z_]+)\s*=\s*(?P<value>.*?)\s*$")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def shipped_hooks(policy: Policy) -> Hooks:
    """Order matters: arguments are made what the tool wants before the policy looks at them."""
    guards = Guards(policy)
    before_turn = (Hook("input_length", guards.input_length), Hook("settings", guards.settings))
    before_model = (
        Hook("spend", guards.spend),
        Hook("settings", guards.tell_settings),
        Hook("notes", tell_notes),
    )
    before_tool = (Hook("arguments", fit_arguments), Hook("tool_policy", guards.tool_policy))
    return Hooks(
        before_turn=Chain("turn", "before", before_turn),
        after_turn=Chain("turn", "after", (Hook("reply_length", guards.reply_length),)),
        before_model=Chain("model", "before", before_model),
        after_model=Chain("model", "after", (Hook("redact", guards.redact),)),
        before_tool=Chain("tool", "before", before_tool),
        after_tool=Chain("tool", "after", (Hook("result_length", guards.result_length),)),
    )


class Guards:
    """Hooks that follow the operator's policy."""

    def __init__(self, policy: Policy) -> None:
        self._limits: Limits = policy.limits
        self._tools: ToolPolicy = policy.tools
        self._redact = {name: re.compile(pattern) for name, pattern in policy.redact.items()}
        self._settings = policy.session_settings

    # --- turn

    def input_length(self, context: TurnContext, request: TurnRequest) -> Decision[TurnRequest]:
        size = sum(len(str(message["content"])) for message in request.messages)
        if size > self._limits.input_chars:
            return Deny(f"the messages have {size} characters; {self._limits.input_chars} are allowed")
        return ALLOW

    def settings(self, context: TurnContext, request: TurnRequest) -> Decision[TurnRequest]:
        """Take settings from the body and from `/set name=value` lines of the user's last message."""
        lines = request.text.splitlines()
        found = {m["name"].lower(): m["value"] for m in map(SET_LINE.match, lines) if m}
        wanted = {**request.settings, **found}
        if not wanted:
            return ALLOW
        for name, value in wanted.items():
            problem = self._setting_problem(name, value)
            if problem:
                return Deny(problem)
        context.settings = {**context.settings, **wanted}
        rest = "\n".join(line for line in lines if not SET_LINE.match(line)).strip()
        changed = replace(request, messages=with_last_user_text(request.messages, rest))
        return Change(changed, "set " + ", ".join(sorted(wanted)))

    def _setting_problem(self, name: str, value: str) -> str | None:
        schema = self._settings.get(name)
        if schema is None:
            return f"there is no setting {name!r}; there are {', '.join(sorted(self._settings))}"
        if not Draft202012Validator(schema).is_valid(value):
            return f"{value!r} is no value of the setting {name!r}"
        return None

    def reply_length(self, context: TurnContext, text: str) -> Decision[str]:
        return _cut(text, self._limits.reply_chars)

    # --- model

    def spend(self, context: TurnContext, request: ModelRequest) -> Decision[ModelRequest]:
        spent = context.spent_tokens + context.usage.total
        if spent >= self._limits.session_tokens:
            return Deny(f"the session has used {spent} tokens; {self._limits.session_tokens} are allowed")
        return ALLOW

    def tell_settings(self, context: TurnContext, request: ModelRequest) -> Decision[ModelRequest]:
        """A system message for this call alone: the conversation does not keep it."""
        context = replace(context, settings=self._for_the_model(context.settings))
        if not context.settings:
            return ALLOW
        lines = [f"- {self._describe(name)}: {value}" for name, value in sorted(context.settings.items())]
        told = with_instruction(request, "Settings of this session:\n" + "\n".join(lines))
        return Change(told, f"told {len(lines)} settings")

    def _describe(self, name: str) -> str:
        return f"{name} ({self._settings[name]['description']})"

    def _for_the_model(self, settings: Mapping[str, str]) -> dict[str, str]:
        """One without a description is for the service alone."""
        return {
            name: value for name, value in settings.items() if self._settings.get(name, {}).get("description")
        }

    def redact(self, context: TurnContext, reply: ModelReply) -> Decision[ModelReply]:
        content, found = reply.content or "", []
        for name, pattern in self._redact.items():
            content, count = pattern.subn(f"[{name} removed]", content)
            found.extend([name] * bool(count))
        if not found:
            return ALLOW
        return Change(reply._replace(content=content), "removed " + ", ".join(found))

    # --- tool

    def tool_policy(self, context: TurnContext, call: ToolCall) -> Decision[ToolCall]:
        if matches(call.key, self._tools.deny):
            return Deny(f"{call.key} is forbidden")
        if not matches(call.key, self._tools.allow):
            return Deny(f"{call.key} is not allowed")
        for pattern, bounds in self._tools.bounds.items():
            if fnmatchcase(call.key, pattern):
                problem = _out_of_bounds(call.arguments, bounds)
                if problem:
                    return Deny(problem)
        return ALLOW

    def result_length(self, context: TurnContext, result: ToolResult) -> Decision[ToolResult]:
        decision = _cut(result.content, self._limits.result_chars)
        if isinstance(decision, Change):
            return Change(result._replace(content=decision.value), decision.reason)
        return ALLOW


def tell_notes(context: TurnContext, request: ModelRequest) -> Decision[ModelRequest]:
    """What the user asked to remember, also when the history no longer reaches back to it."""
    if not context.notes:
        return ALLOW
    told = with_instruction(request, "To be remembered:\n" + "\n".join(f"- {note}" for note in context.notes))
    return Change(told, f"told {len(context.notes)} notes")


def with_instruction(request: ModelRequest, text: str) -> ModelRequest:
    """With one more system message, after those that lead the conversation."""
    messages = request.messages
    head = next((i for i, message in enumerate(messages) if message["role"] != "system"), len(messages))
    added: Message = {"role": "system", "content": text}
    return request._replace(messages=(*messages[:head], added, *messages[head:]))


def fit_arguments(context: TurnContext, call: ToolCall) -> Decision[ToolCall]:
    """What the model wrote as text is made the number or boolean that the schema wants; the rest must fit."""
    spec = context.catalog.get(call.key)
    schema = spec.input_schema if spec else {}
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    arguments = {name: _fitted(value, properties.get(name)) for name, value in call.arguments.items()}
    for error in sorted(_errors(schema, arguments), key=str):
        where = ".".join(str(part) for part in error.path)
        return Deny(f"argument {where}: {error.message}" if where else error.message)
    if arguments == call.arguments:
        return ALLOW
    changed = sorted(name for name in arguments if arguments[name] != call.arguments[name])
    return Change(call._replace(arguments=arguments), "converted " + ", ".join(changed))


def _errors(schema: Mapping[str, object], arguments: dict[str, Any]) -> list[ValidationError]:
    """Empty where the server's schema is none: then the tool may judge."""
    try:
        return list(validator(schema).iter_errors(arguments))
    except UNREADABLE:
        return []


def with_last_user_text(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """The messages with another text in the last of the user's."""
    last = max(index for index, message in enumerate(messages) if message["role"] == "user")
    return tuple({**m, "content": text} if index == last else m for index, m in enumerate(messages))


def _fitted(value: Any, schema: Any) -> Any:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(value, str):
        return value
    text = value.strip()
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "integer" and NUMBER.fullmatch(text) and float(text).is_integer():
        return int(float(text))
    if kind == "number" and NUMBER.fullmatch(text):
        return float(text)
    return value


def _out_of_bounds(arguments: Mapping[str, Any], bounds: Mapping[str, Mapping[str, object]]) -> str | None:
    for name, schema in bounds.items():
        if name in arguments and not Draft202012Validator(schema).is_valid(arguments[name]):
            return f"argument {name}: {arguments[name]!r} is out of bounds"
    return None


def _cut(text: str, limit: int) -> Decision[str]:
    if len(text) <= limit:
        return ALLOW
    return Change(text[:limit] + "\n[cut]", f"cut {len(text)} characters to {limit}")
