"""The right answer to a case, where its graders know one: `exact` knows words, `tool_trace` knows calls. Patterns, schemas
and code can tell right from wrong and still know no right answer."""

from collections.abc import Iterable, Mapping

from evidence.cases import CaseContent
from trial.gateway.right_answer import RightAnswer, RightCall
from trial.graders.config import ExactConfig, GraderConfig, ToolPattern, ToolTraceConfig
from trial.graders.matcher import Matcher
from trial.graders.selecting import from_request

_GLOB = frozenset("*?[")


class NoRightAnswer(ValueError):
    """Nothing can be put in the model's place; the message says why."""


def right_answer(configs: Iterable[GraderConfig], case: CaseContent, matcher: Matcher) -> RightAnswer:
    """From all graders of the case together. Raises NoRightAnswer, GraderBroken."""
    words: list[str] = []
    calls: list[RightCall] = []
    for config in configs:
        if isinstance(config, ExactConfig) and config.select == "text":
            words += [one for one in _expected(config, case, matcher) if one not in words]
        elif isinstance(config, ToolTraceConfig):
            calls += [_call(pattern, case, matcher) for pattern in config.required]
    if len(words) > 1:
        raise NoRightAnswer("its graders expect different words")
    if not words and not calls:
        raise NoRightAnswer("none of its graders knows a right answer")
    return RightAnswer(calls=tuple(calls), text=words[0] if words else None)


def _expected(config: ExactConfig, case: CaseContent, matcher: Matcher) -> list[str]:
    found = [config.expected]
    if config.expected_path is not None:
        found = from_request(config.expected_path, case, matcher)
    return [value for value in found if isinstance(value, str)]


def _call(pattern: ToolPattern, case: CaseContent, matcher: Matcher) -> RightCall:
    if _GLOB & set(pattern.tool) or "/" not in pattern.tool:
        raise NoRightAnswer(f"a grader names no single tool: {pattern.tool}")
    known: dict[str, object] = dict(pattern.arguments)
    for name, path in pattern.from_request.items():
        found = from_request(path, case, matcher)
        if not found:
            raise NoRightAnswer(f"the request holds nothing at {path}")
        known[name] = found[0]
    if unknown := sorted(pattern.matches.keys() - known.keys()):
        raise NoRightAnswer(f"a grader knows only a pattern for {unknown[0]!r} of {pattern.tool}")
    return RightCall(tool=pattern.tool, arguments=_nested(known))


def _nested(dotted: Mapping[str, object]) -> dict[str, object]:
    """Raises NoRightAnswer when two names claim the same place."""
    top: dict[str, object] = {}
    for name, value in dotted.items():
        *folders, last = name.split(".")
        table = top
        for folder in folders:
            inner = table.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise NoRightAnswer(f"a grader names both {folder!r} and something in it")
            table = inner
        if last in table:
            raise NoRightAnswer(f"a grader names both {last!r} and something in it")
        table[last] = value
    return top
