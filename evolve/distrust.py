"""What a careful reviewer should hold against a candidate that looks good: facts from its records, one
sentence each."""

from collections.abc import Sequence
from typing import Protocol

from evidence.cases import SealedBatch
from evolve.candidate import Candidate
from evolve.durability import less_durable
from evolve.judge.shown import JudgeStory
from evolve.settings import Settings
from evolve.substrate_facts import LOOK_BACK, SubstrateFacts
from evolve.views import RunSummary, WorkflowChange
from trial.report import TrialReport
from trial.verdict import REQUIRED

FEW_PAIRS = 20
WIDE_MARGIN = 3.0
LARGE_LINES = 80
SLOWER = 1.5
MOST_TOOLS = 10
"""That are named of one workflow; its drawing names more."""


class Told(Protocol):
    """What is asked of a case."""

    @property
    def split(self) -> str: ...
    @property
    def change(self) -> str: ...
    @property
    def flags(self) -> tuple[str, ...]: ...


def what_to_distrust(
    settings: Settings,
    run: RunSummary,
    proposal: Candidate | None,
    report: TrialReport | None,
    batch: SealedBatch | None,
    cases: Sequence[Told],
    facts: SubstrateFacts,
    judge: JudgeStory | None = None,
    diff: str = "",
    workflows: Sequence[WorkflowChange] = (),
) -> tuple[str, ...]:
    """Empty only when nothing stands out, which is not the same as being safe. A judge that does not count warns of
    nothing."""
    found: list[str] = []
    if report is not None:
        found += _numbers(report)
    found += _cases(cases)
    if proposal is not None:
        found += _change(proposal)
        found += _substrate(facts)
    found += [f"{line}: what was answered may be gone after a power cut." for line in less_durable(diff)]
    found += [
        f"The workflow {change.name} may call {tool}, which it could not before."
        for change in workflows
        for tool in change.gained[:MOST_TOOLS]
    ]
    if judge is not None and judge.counts and judge.judged is not None:
        found += [
            f"The judge finds the reply to case {case_id} worse than the baseline's."
            for case_id in judge.judged.those("worse")
        ]
    if batch is not None:
        found += _evidence(batch)
    if run.iteration > 1:
        found.append(f"This run took {run.iteration} passes: more tries, more chances to look good by luck.")
    if settings.consent.policy == "solo":
        found.append("Policy `solo`: the person who started the run may approve it; nobody else has to look.")
    return tuple(dict.fromkeys(found))


def _numbers(report: TrialReport) -> list[str]:
    found = list(report.cannot_show)
    if missing := _not_checked(report):
        found.append(f"Checks that were not made: {', '.join(missing)}.")
    if report.verdict != "converged":
        found.append(f"The verdict is {report.verdict.replace('_', ' ')}, not converged.")
    if report.held_out_pairs < FEW_PAIRS:
        found.append(
            f"Small sample: {report.held_out_pairs} held-out pairs decided. "
            "It shows that the fix helps, not how often."
        )
    if report.margin_points > WIDE_MARGIN and not report.cannot_show:
        found.append(
            f"The regression cases carry a margin of {report.margin_points:.1f} points only: "
            "a smaller loss would not have been seen."
        )
    invalid = sum(count.invalid for count in report.candidate.values())
    if invalid:
        found.append(
            f"{invalid} of the candidate's replays were invalid: the arena broke and they count for nothing."
        )
    if report.trials_saved:
        found.append(f"Trials stopped once decided: {report.trials_saved} planned replays were not run.")
    return found


def _not_checked(report: TrialReport) -> list[str]:
    present = {check.name for check in report.checks}
    guarded = any(name.startswith("guard.") for name in present)
    return [name for name in REQUIRED if name not in present] + ([] if guarded else ["guard"])


def _substrate(facts: SubstrateFacts) -> list[str]:
    if not facts.known:
        return [
            "The substrate's repository can't be read: hot files, new dependencies and new capabilities are not known."
        ]
    found = [
        f"Hot file: {path} changed in {count} of the last {LOOK_BACK} commits; what changes often breaks often."
        for path, count in facts.hot.items()
    ]
    found += [f"New dependency: {name}." for name in facts.dependencies]
    if facts.gained:
        found.append(
            f"It may do {len(facts.gained)} {_plural(len(facts.gained), 'thing')} that the live one may not: see below."
        )
    return found


def _cases(cases: Sequence[Told]) -> list[str]:
    found = []
    broken = sum(case.change == "broken" for case in cases)
    if broken:
        found.append(
            f"{broken} {_plural(broken, 'case')} passed before and {_plural(broken, 'fails', 'fail')} now."
        )
    failing = sum(case.change == "still failing" and case.split in ("visible", "held_out") for case in cases)
    if failing:
        found.append(
            f"{failing} of the failures that it was made for still {_plural(failing, 'fails', 'fail')}."
        )
    flagged = sum(bool(case.flags) for case in cases)
    if flagged:
        found.append(
            f"{flagged} {_plural(flagged, 'replay')} raised a flag against the candidate; see the cases."
        )
    return found


def _change(proposal: Candidate) -> list[str]:
    found = []
    lines = proposal.lines_added + proposal.lines_removed
    if lines > LARGE_LINES:
        found.append(
            f"A large change: {lines} lines in {len(proposal.files)} {_plural(len(proposal.files), 'file')}."
        )
    if proposal.lines_removed and not proposal.lines_added:
        found.append("It only removes code: look for what the removed lines did for others.")
    return found


def _evidence(batch: SealedBatch) -> list[str]:
    found = list(batch.cannot_show)
    cases = (*batch.visible, *batch.held_out, *batch.regression)
    told = sum(case.cassette.self_reported for case in cases)
    if told:
        found.append(
            f"{told} of {len(cases)} cases replay calls that the agent itself reported, not our gateway."
        )
    live = sum("live" in (case.on_model_miss, case.on_tool_miss) for case in cases)
    if live:
        found.append(
            f"In {live} of {len(cases)} cases a call that was never recorded may reach the live model "
            "or tool: such a replay can differ from the past, and from the next one."
        )
    flags_only = sum(bool(c.signals) and all(s.kind == "user_flag" for s in c.signals) for c in cases)
    if flags_only:
        found.append(f"{flags_only} {_plural(flags_only, 'case')} counts as failed on a user's word alone.")
    return found


def _plural(count: int, one: str, many: str = "") -> str:
    return one if count == 1 else many or f"{one}s"
