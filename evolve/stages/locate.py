"""Locate: which lines of the baseline do failing replays execute and good ones not, and which shipped workflows do they run?
Traced apart from scored trials, on the baseline alone, so that no candidate ever sees a tracer."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence

from evidence.cases import RegressionCase, VisibleCase
from evolve import worktree
from evolve.context import RunContext
from evolve.stages.baseline import jobs
from evolve.stages.models import Baseline, Located, Suspect
from evolve.workflow_library import library_at
from trial.plan import Job
from trial.replay import Replay
from trial.report import Outcome
from trial.spectrum import Coverage, rank
from trial.spectrum import Suspect as Line
from workflows.graph import Workflow

FAILING_REPLAYS = 8
PASSING_REPLAYS = 16
MOST_SUSPECTS = 2000


def run(context: RunContext, known: Baseline) -> Located:
    """Replays with line tracing: some failing visible cases, some regression cases; ranked by Ochiai."""
    visible = [case for case in context.batch.visible if case.id in known.failing][:FAILING_REPLAYS]
    chosen = jobs(context, [*visible, *_alike(context, visible)])

    repository, commit = context.settings.substrate_repository, context.batch.baseline_commit
    shipped = {file: one.workflow for file, one in library_at(repository, commit).items() if one.workflow}

    def look(job: Job, replay: Replay) -> tuple[Outcome, Coverage]:
        grades = context.graders.grade(job.case, replay)
        good = bool(grades) and all(grade.passed for grade in grades)
        ran = workflows_of(job.case.turn.request_id, replay.events, shipped) if replay.coverage else ()
        return ("pass" if good else "fail"), {**(replay.coverage or {}), **dict.fromkeys(ran, (1,))}

    seen: dict[Outcome, list[Coverage]] = {"pass": [], "fail": [], "invalid": []}
    for played in context.arena.play(chosen, look, coverage=True):
        context.spend_trials(1)
        if played.value is not None and played.value[1]:
            seen[played.value[0]].append(played.value[1])
    sources = worktree.read_files(repository, commit, "")
    suspects = beside(rank(seen["fail"], seen["pass"]), sources)[:MOST_SUSPECTS]
    if suspects:
        first = suspects[0]
        context.say("locate", f"most suspicious: {first.file}:{first.line} ({first.score:.2f})")
    return Located(
        suspects=tuple(suspects),
        failing_replays=len(seen["fail"]),
        passing_replays=len(seen["pass"]),
    )


def workflows_of(
    turn: str, events: Iterable[Mapping[str, object]], shipped: Mapping[str, Workflow]
) -> Iterator[str]:
    """Files of workflows whose steps called tools in this turn: the harness names such a call `WORKFLOW_STEP`, and what of
    the step it is."""
    calls = [
        str(event.get("call_id")) for event in events if event.get("turn") == turn and "call_id" in event
    ]
    for file, workflow in shipped.items():
        steps = tuple(f"{workflow.name}_{node.id}_" for node in workflow.nodes)
        if any(f"{call}_".startswith(steps) for call in calls):
            yield file


def beside(suspects: Sequence[Line], sources: Mapping[str, bytes]) -> list[Suspect]:
    """Half a line's own score, half that of the most suspicious line of its function.

    The guilty statement is often one that good replays execute too, next to one that they do not. Blending in the
    function's score follows B. Le et al., "A learning-to-rank based fault localization approach" (ISSTA 2016).
    """
    files = {suspect.file for suspect in suspects if suspect.file.endswith(".py")}
    owners = {name: _functions(sources[name]) for name in files if name in sources}
    best: dict[tuple[str, int], float] = {}
    for suspect in suspects:
        key = suspect.file, owners.get(suspect.file, {}).get(suspect.line, 0)
        best[key] = max(best.get(key, 0.0), suspect.score)
    blended = [
        Suspect(
            file=s.file,
            line=s.line,
            score=(s.score + best[s.file, owners.get(s.file, {}).get(s.line, 0)]) / 2,
        )
        for s in suspects
    ]
    return sorted(blended, key=lambda s: (-s.score, s.file, s.line))


def _functions(source: bytes) -> dict[int, int]:
    """Line -> first line of the innermost function around it."""
    found: dict[int, int] = {}
    for node in ast.walk(ast.parse(source)):  # breadth first: inner functions come later and win
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), node.lineno))
    return found


def _alike(context: RunContext, failing: Sequence[VisibleCase]) -> list[RegressionCase]:
    """Good cases to compare with. Half are judged by the failing ones' graders and share their path, so that what sets
    the two apart stands out; half are others, so that the path itself does."""
    wanted = {grader.name for case in failing for grader in case.graders}
    names = {case.id: {grader.name for grader in case.graders} for case in context.batch.regression}
    ordered = sorted(context.batch.regression, key=lambda case: -len(names[case.id] & wanted))
    half = PASSING_REPLAYS // 2
    return [*ordered[:half], *ordered[half:][-half:]]
