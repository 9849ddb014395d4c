"""The requirement that needs no configuration: the turn was answered, and nothing blew up on the way.

It joins the graders of every case, unless one of them judges the HTTP status itself. It asks the same
automatic signals (exception, timeout, tool error) that turn live traffic into evidence.
"""

from dataclasses import dataclass

from evidence import signals
from evidence.canonical import digest
from evidence.cases import CaseContent, SignalKind
from trial.graders.base import make_grade
from trial.graders.reading import answer_text, asked_for_tools, rule_view
from trial.replay import Replay
from trial.report import Grade

NAME = "answered"


@dataclass(frozen=True)
class AnsweredGrader:
    digest: str = digest({"kind": NAME, "v": 1})

    def grade(self, case: CaseContent, replay: Replay) -> Grade:
        reason = _wrong(case, replay)
        return make_grade(NAME, float(not reason), 1.0, reason)


def _wrong(case: CaseContent, replay: Replay) -> str:
    status = replay.turn.status or 0
    refused_then = not case.signals and 400 <= (case.turn.status or 0) < 500
    if status != case.turn.status if refused_then else not 200 <= status < 300:
        return f"answered with status {status}"
    if not (answer_text(replay.turn).strip() or asked_for_tools(replay.turn)) or replay.turn.reply in (
        {},
        [],
    ):
        return "the answer is empty"
    for signal in signals.judge(rule_view(case, replay)).signals:
        if signal.kind in _unwanted(case):
            return f"{signal.kind}: {signal.reason}"
    return ""


def _unwanted(case: CaseContent) -> set[SignalKind]:
    """A tool that failed then will fail again in the replay; that only counts where it was the complaint."""
    kinds: set[SignalKind] = {"exception", "timeout"}
    if all(signal.kind == "tool_error" for signal in case.signals):
        kinds.add("tool_error")
    return kinds
