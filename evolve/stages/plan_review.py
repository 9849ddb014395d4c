"""Plan review, deterministic form: is there anything editable on a failing path at all?"""

from pathspec import GitIgnoreSpec

from evolve.context import RunContext
from evolve.stages.models import Plan, Review
from trial.report import Check


def run(context: RunContext, planned: Plan) -> Review:
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
    return Review(ok=True, checks=checks)
