"""Keypoints: what a good reply to each failing visible case does, said once by the judge, on the baseline alone."""

from functools import partial

from evolve.context import RunContext
from evolve.judge.asking import ask_judge
from evolve.judge.models import CaseKeypoints, Keypoints, KeypointsAnswer
from evolve.judge.sheet import numbered, section, sheet
from evolve.stage import Place
from evolve.stages.models import Baseline


def run(context: RunContext, judge: str, known: Baseline) -> Keypoints:
    """`judge`: its identity. A judge that gives no answer has fixed nothing."""
    cases = {case.id: case for case in context.batch.visible}
    sections: list[tuple[str, str]] = []
    for name, case_id in numbered(known.failing):
        sections += [
            section(name, cases[case_id]),
            (f"{name}: how it is answered", known.replies.get(case_id, "")),
            (f"{name}: what the graders say of that", known.reasons[case_id]),
        ]
    answer, asked, trouble = ask_judge(
        context,
        "keypoints",
        Place(),
        {"cases.md": sheet(sections)},
        KeypointsAnswer,
        partial(_misfit, known=known),
    )
    fixed = (
        CaseKeypoints(case_id=case_id, points=answer.cases[name])
        for name, case_id in numbered(known.failing)
        if answer is not None
    )
    return Keypoints(
        judge=judge, coder=context.settings.run.judge, cases=tuple(fixed), asked=asked, trouble=trouble
    )


def _misfit(answer: KeypointsAnswer, known: Baseline) -> str:
    names = [name for name, _ in numbered(known.failing)]
    return "" if answer.cases.keys() == set(names) else f"keypoints are needed for {', '.join(names)}"
