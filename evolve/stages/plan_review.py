"""Plan review: is there anything editable on a failing path at all? Then, where a reviewer is configured, another coder
argues against the plan before anything is spent on it."""

from pathspec import GitIgnoreSpec

from evolve.context import RunContext
from evolve.opinions import ask_opponent
from evolve.stage import Place
from evolve.stages.models import Brief, Plan, Review
from trial.report import Check


def run(context: RunContext, place: Place, brief: Brief, planned: Plan) -> Review:
    """Refuses with `limit_architecture` when no editable file is on any failing path."""
    editable = GitIgnoreSpec.from_lines(context.manifest.editable)
    files = sorted({s.file for s in planned.suspects if s.score > 0})
    inside = [name for name in files if editable.match_file(name)]
    checks = (
        Check(name="plan.editable_suspect", ok=bool(inside), reason=", ".join(inside[:5])),
        Check(name="plan.failing_case", ok=bool(planned.cases), reason=f"{len(planned.cases)} cases"),
    )
    if not inside:
        reason = f"no editable file is on a failing path (seen: {', '.join(files[:5]) or 'none'})"
        return Review(ok=False, word="limit_architecture", reason=reason, checks=checks)
    if planned.asked is not None and planned.answer is None:
        return Review(ok=False, word="needs_work", reason=f"no plan: {planned.asked.trouble}", checks=checks)
    if planned.answer is None:
        return Review(ok=True, checks=checks)
    start = brief.start(context.batch.baseline_commit)
    files_shown = {"plan.json": planned.answer.model_dump_json(indent=1)}
    return ask_opponent(
        context, "plan_review", place, start, files_shown, planned, "\n".join(brief.objections), checks
    )
