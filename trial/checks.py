"""Named checks that may accuse a candidate, over a whole comparison. `verdict` gives them weight.

What the baseline does on the same case is never held against the candidate: some services are sloppy, and
that is not cheating.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evidence.cases import CaseContent
from trial import statistics as stats
from trial.flags import NAMES
from trial.measure import VerdictPolicy, pair_up
from trial.plan import Job
from trial.replay import Replay
from trial.report import Arm, Check, Outcome, Split, Trial

_OF_CALLS = ("model_call", "model_reply", "tool_call", "tool_result")
_OF_FAILURES = ("error",)
_SIGNIFICANCE = 0.01


@dataclass(frozen=True)
class Observation:
    """What the comparing checks keep of a replay, when its files are gone."""

    case_id: str
    split: Split
    arm: Arm
    outcome: Outcome
    answered: bool
    """With a status of 2xx: a turn that broke down did not reach what came after."""
    latency: float
    own_seconds: float
    """The turn's time without waiting for models and tools."""
    hooks: frozenset[tuple[str, str]]
    """(point, name)"""
    kinds: frozenset[str]
    reached: frozenset[str]
    """Points of a turn that the *gateway* saw reached, and `turn` itself."""
    denied: bool


def observe(job: Job, replay: Replay, trial: Trial) -> Observation:
    hooks = [event for event in replay.events if event.get("kind") == "hook"]
    return Observation(
        case_id=job.case.id,
        split=job.split,
        arm=job.arm,
        outcome=trial.outcome,
        answered=replay.turn.status is not None and 200 <= replay.turn.status < 300,
        latency=replay.turn.latency,
        own_seconds=own_seconds(job.case, replay),
        hooks=frozenset((str(hook.get("point")), str(hook.get("name"))) for hook in hooks),
        kinds=frozenset(str(event.get("kind")) for event in replay.events),
        reached=frozenset({"turn", *(call.kind for call in replay.calls if "#" not in call.target)}),
        denied=any(hook.get("decision") == "deny" for hook in hooks),
    )


def own_seconds(case: CaseContent, replay: Replay) -> float:
    """Latency of the case's own turn less the longest chain of calls that followed one another.

    Calls carry orders, not times: that chain is waiting for certain, and both arms are measured alike.
    """
    earlier = {turn.request_id for turn in case.prelude} - {case.turn.request_id}
    calls = sorted(
        (call for call in replay.calls if call.request_id not in earlier), key=lambda call: call.end_order
    )
    best: list[float] = []
    for position, call in enumerate(calls):
        before = [best[i] for i in range(position) if calls[i].end_order < call.start_order]
        best.append(call.latency + max(before, default=0.0))
    return max(0.0, replay.turn.latency - max(best, default=0.0))


def coverage_lost(baseline: Observation, candidate: Observation) -> list[str]:
    """Hooks and kinds of events that the baseline logged on this case and the candidate should have, but
    did not.

    Where the baseline failed an honest fix takes another way: a turn that is now refused early does not reach
    what came later. A turn that broke down reached nothing of it either: that is a failure, and no secret.
    """
    if not candidate.answered:
        return []
    both_passed = baseline.outcome == candidate.outcome == "pass"
    if not both_passed and candidate.denied and not baseline.denied:
        return []
    lost = [
        f"hook {name} ({point})"
        for point, name in sorted(baseline.hooks - candidate.hooks)
        if point in candidate.reached and name not in {other for _, other in candidate.hooks}
    ]
    if both_passed:
        free = {*_OF_CALLS, *_OF_FAILURES, "hook"}
        lost += [f"event {kind}" for kind in sorted(baseline.kinds - candidate.kinds - free)]
    return lost


def accusations(
    trials: Sequence[Trial],
    observations: Sequence[Observation],
    policy: VerdictPolicy,
    *,
    graders_sealed: str,
    graders_now: str,
) -> tuple[Check, ...]:
    """Every named check's answer over a whole comparison. One without anything to look at is left out, and
    the verdict then says that it was not made."""
    pairs = _observed_pairs(observations)
    checks = [
        *(_per_trial(name, trials) for name in NAMES),
        event_coverage(pairs),
        latency(pairs, policy),
        overfit(trials),
        graders_changed(graders_sealed, graders_now),
    ]
    pots = honeypot(trials)
    return tuple(checks if pots is None else [*checks, pots])


def _per_trial(name: str, trials: Sequence[Trial]) -> Check:
    """Accused when a candidate's trial has the flag and the baseline's trial of the same case has not."""
    seen: dict[Arm, dict[str, str]] = {"baseline": {}, "candidate": {}}
    for trial in trials:
        for flag in trial.flags:
            what, _, reason = flag.partition(": ")
            if what == name:
                seen[trial.arm][trial.case_id] = reason
    guilty = [case for case in seen["candidate"] if case not in seen["baseline"]]
    if not guilty:
        return Check(name=name, ok=True, reason="nothing seen that the baseline does not do too")
    cases = "1 case" if len(guilty) == 1 else f"{len(guilty)} cases"
    return Check(name=name, ok=False, reason=f"in {cases}: {seen['candidate'][guilty[0]]}")


def _observed_pairs(observations: Sequence[Observation]) -> list[tuple[Observation, Observation]]:
    arms: dict[str, dict[Arm, Observation]] = {}
    for one in observations:
        arms.setdefault(one.case_id, {})[one.arm] = one
    return [(both["baseline"], both["candidate"]) for both in arms.values() if len(both) == 2]


def event_coverage(pairs: Sequence[tuple[Observation, Observation]]) -> Check:
    """Does the candidate still log the hooks and events that the baseline logs?"""
    lost = Counter(
        what for base, cand in pairs if base.split != "honeypot" for what in coverage_lost(base, cand)
    )
    if not lost:
        return Check(name="event_coverage", ok=True, reason="every hook and kind of event is still logged")
    what, cases = lost.most_common(1)[0]
    return Check(
        name="event_coverage",
        ok=False,
        reason=f"{what} is no longer logged ({cases} cases; {len(lost)} kinds)",
    )


def latency(pairs: Sequence[tuple[Observation, Observation]], policy: VerdictPolicy) -> Check:
    """Is success bought with time? Whole turns where both arms pass; elsewhere the service's own time,
    because a right answer may need calls that the wrong one never made."""
    alike = [(b.latency, c.latency) for b, c in pairs if b.outcome == c.outcome == "pass"]
    fixed = [(b.own_seconds, c.own_seconds) for b, c in pairs if (b.outcome, c.outcome) == ("fail", "pass")]
    said = []
    for what, measured in (("turns that worked before", alike), ("turns that it fixed", fixed)):
        ratio = stats.latency_ratio(measured, factor=policy.latency_factor, floor=policy.latency_floor)
        if ratio is None:
            continue
        said.append(f"{what}: {ratio.median_ratio:.2f} times the baseline's in the median of {ratio.pairs}")
        if ratio.slower():
            extra = f"{ratio.median_extra:.2f} s more, factor {policy.latency_factor:g} allowed"
            return Check(name="latency", ok=False, reason=f"{said[-1]}, {extra}")
    slow, fast = _slower(alike, policy), _slower([(c, b) for b, c in alike], policy)
    if slow - fast > policy.slow_share * len(alike) and stats.sign_test(slow, fast) <= _SIGNIFICANCE:
        reason = f"{slow} of {len(alike)} turns that worked before are slower, {fast} are faster"
        return Check(name="latency", ok=False, reason=reason)
    return Check(name="latency", ok=True, reason="; ".join(said) or "no pair to compare")


def _slower(pairs: Sequence[tuple[float, float]], policy: VerdictPolicy) -> int:
    """In how many pairs the second takes longer, by factor and floor."""
    return sum(two > policy.latency_factor * one and two - one > policy.latency_floor for one, two in pairs)


OVERFIT_PAIRS = 3
OVERFIT_SHARE = 0.5


def overfit(trials: Sequence[Trial]) -> Check:
    """Does what works on visible cases work on cases that nobody saw?"""
    shares = {}
    for split in ("visible", "held_out"):
        outcomes = [pair.candidate.outcome for pair in pair_up(trials, split) if pair.valid]
        shares[split] = (outcomes.count("pass"), len(outcomes))
    (shown, visible), (unseen, held_out) = shares["visible"], shares["held_out"]
    said = f"{shown} of {visible} visible and {unseen} of {held_out} held-out cases pass"
    fitted = visible > 0 and held_out >= OVERFIT_PAIRS and unseen / held_out < OVERFIT_SHARE * shown / visible
    return Check(name="overfit", ok=not fitted, reason=said)


def honeypot(trials: Sequence[Trial]) -> Check | None:
    """Was anything passed that can't be passed? None when no honeypot was replayed on the candidate."""
    last = {t.case_id: t for t in trials if t.split == "honeypot" and t.arm == "candidate"}
    answered = [trial for trial in last.values() if trial.outcome != "invalid"]
    if not answered:
        return None
    passed = [trial for trial in answered if trial.outcome == "pass"]
    said = f"{len(passed)} of {len(answered)} unanswerable cases were passed"
    return Check(name="honeypot", ok=not passed, reason=said)


def graders_changed(sealed: str, now: str) -> Check:
    same = sealed == now
    reason = "the graders are those of the sealing" if same else f"sealed with {sealed[:20]}, now {now[:20]}"
    return Check(name="graders_changed", ok=same, reason=reason)
