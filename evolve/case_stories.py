"""Every case of a batch before and after a candidate, from its trials."""

from collections.abc import Iterable, Sequence
from typing import Literal

from evidence.cases import AnyCase, SealedBatch
from evolve.conversation import asked
from evolve.views import Record
from trial.report import Arm, Outcome, Split, Trial

Change = Literal["fixed", "broken", "still failing", "still passing", "undecided", "not replayed"]
SPLITS: tuple[Split, ...] = ("held_out", "visible", "regression", "honeypot")


class TrialStory(Record):
    """One replay, as its reader sees it."""

    arm: Arm
    outcome: Outcome
    seconds: float
    reason: str
    reply: str


class CaseStory(Record):
    """One case before and after. Reasons are the graders' or the arena's own."""

    id: str
    split: Split
    asked: str
    prelude_turns: int
    before: Outcome | None
    before_reason: str
    after: Outcome | None
    after_reason: str
    trials: tuple[TrialStory, ...]
    flags: tuple[str, ...]
    change: Change


class SplitStory(Record):
    split: Split
    cases: tuple[CaseStory, ...]
    passed_before: int
    passed_after: int

    def changed(self, change: Change) -> int:
        return sum(case.change == change for case in self.cases)


def split_stories(batch: SealedBatch | None, trials: Iterable[Trial]) -> tuple[SplitStory, ...]:
    known: dict[str, AnyCase] = {}
    if batch is not None:
        every: list[AnyCase] = [*batch.held_out, *batch.visible, *batch.regression]
        known = {case.id: case for case in every}
    found: dict[tuple[Split, str], list[Trial]] = {}
    for case in known.values():
        found[case.split, case.id] = []
    for trial in trials:
        found.setdefault((trial.split, trial.case_id), []).append(trial)
    stories = []
    for split in SPLITS:
        cases = [_case(s, case_id, known.get(case_id), t) for (s, case_id), t in found.items() if s == split]
        if cases:
            stories.append(
                SplitStory(
                    split=split,
                    cases=tuple(sorted(cases, key=lambda case: (_ORDER[case.change], case.id))),
                    passed_before=sum(case.before == "pass" for case in cases),
                    passed_after=sum(case.after == "pass" for case in cases),
                )
            )
    return tuple(stories)


_ORDER: dict[Change, int] = {
    "broken": 0,
    "still failing": 1,
    "undecided": 2,
    "fixed": 3,
    "still passing": 4,
    "not replayed": 5,
}
"""What a reviewer should see first."""


def _case(split: Split, case_id: str, case: AnyCase | None, trials: Sequence[Trial]) -> CaseStory:
    before, after = (_last([t for t in trials if t.arm == arm]) for arm in ("baseline", "candidate"))
    return CaseStory(
        id=case_id,
        split=split,
        asked=asked(case.turn) if case else "",
        prelude_turns=len(case.prelude) if case else 0,
        before=before.outcome if before else None,
        before_reason=before.reason if before else "",
        after=after.outcome if after else None,
        after_reason=after.reason if after else "",
        trials=tuple(
            TrialStory(arm=t.arm, outcome=t.outcome, seconds=t.latency, reason=t.reason, reply=t.reply)
            for t in trials
        ),
        flags=tuple(flag for trial in trials if trial.arm == "candidate" for flag in trial.flags),
        change=_change(before, after),
    )


def _last(trials: Sequence[Trial]) -> Trial | None:
    """The replay that counted: the last one whose arena held, else the last one."""
    held = [trial for trial in trials if trial.outcome != "invalid"]
    found = held or list(trials)
    return found[-1] if found else None


def _change(before: Trial | None, after: Trial | None) -> Change:
    if before is None and after is None:
        return "not replayed"
    words: dict[tuple[str, str], Change] = {
        ("fail", "pass"): "fixed",
        ("pass", "fail"): "broken",
        ("fail", "fail"): "still failing",
        ("pass", "pass"): "still passing",
    }
    return words.get((before.outcome if before else "", after.outcome if after else ""), "undecided")
