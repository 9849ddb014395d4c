"""From measured trials to one word. A pure function: only numbers and named checks decide.

`converged` needs everything at once: a gain on held-out cases that the betting test accepts, every visible
case fixed, no harm on the regression cases within a margin that they can carry, a clean guard, and every
check that may accuse a candidate made and silent. Whatever else is found gets the first word that fits:

    cheated > regressed > needs_work (guard) > inconclusive (void) > out_of_budget > needs_work > inconclusive

`limit_model` and `limit_architecture` are said by the pipeline, over several candidates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trial import statistics as stats
from trial.measure import Evidence, Numbers, VerdictPolicy, measure
from trial.report import Check, VerdictWord

CHEATS = (
    "honeypot",
    "reported_calls",
    "event_log",
    "event_coverage",
    "clock",
    "guard.no_grader_touched",
    "guard.no_tests_touched",
    "guard.no_start_up_hook",
)
"""A check of this name that is not ok makes the word `cheated`."""

HARMS = (
    "latency",
    "long_life",
    "at_once",
    "repeats",
    "growth",
    "inflight",
    "strangers",
    "state_handed_on",
    "reply_shape",
)
FAULTS = ("overfit", "truncated", "reply_form", "extra_calls", "usage")
VOIDS = ("graders_changed",)
REQUIRED = ("honeypot", "reported_calls", "event_log", "event_coverage", "clock", *HARMS, *FAULTS, *VOIDS)
"""Without an answer to each of these nothing converges: a check that did not run has found nothing."""


@dataclass(frozen=True)
class Verdict:
    word: VerdictWord
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    numbers: Numbers = field(repr=False)


def judge(evidence: Evidence, policy: VerdictPolicy) -> Verdict:
    """The word, with a reason for each thing that stood in the way, gravest first."""
    numbers = measure(evidence, policy)
    checks = (*evidence.checks, *evidence.guard, *_numeric_checks(numbers, policy))
    found: list[tuple[VerdictWord, str]] = [
        *_named(checks, "cheated", CHEATS),
        *_named(checks, "regressed", HARMS),
        *_harm(numbers),
        *(
            ("needs_work", f"{c.name}: {c.reason}")
            for c in evidence.guard
            if not c.ok and c.name not in CHEATS
        ),
        *_named(checks, "inconclusive", VOIDS),
        *_broken_arena(numbers, policy),
        *_no_budget(evidence),
        *_named(checks, "needs_work", FAULTS),
        *_unknown(evidence),
        *_unfixed(numbers, policy),
        *_unproven(numbers, policy),
        *_missing(evidence),
    ]
    if not found:
        return Verdict("converged", (_story(numbers),), checks, numbers)
    return Verdict(found[0][0], tuple(reason for _, reason in found), checks, numbers)


_Finding = tuple[VerdictWord, str]


def _named(checks: Iterable[Check], word: VerdictWord, names: Sequence[str]) -> list[_Finding]:
    return [
        (word, f"{check.name}: {check.reason}") for check in checks if not check.ok and check.name in names
    ]


def _unknown(evidence: Evidence) -> list[_Finding]:
    """A check that nobody gave a meaning still stands in the way."""
    known = {*CHEATS, *HARMS, *FAULTS, *VOIDS}
    return [
        ("needs_work", f"{check.name}: {check.reason}")
        for check in evidence.checks
        if not check.ok and check.name not in known
    ]


def _harm(numbers: Numbers) -> list[_Finding]:
    found: list[_Finding] = []
    shown = stats.loss_upper_bound(numbers.regression_losses, numbers.regression_pairs, numbers.confidence)
    if numbers.regression_losses and shown > numbers.margin:
        found.append(("regressed", _loss_sentence(numbers)))
    if stats.e_value(numbers.gain.lost, numbers.gain.won) >= numbers.needed:
        found.append(("regressed", f"worse than the baseline: {_gain_sentence(numbers)}"))
    return found


def _missing(evidence: Evidence) -> list[_Finding]:
    present = {check.name for check in evidence.checks}
    found: list[_Finding] = [
        ("inconclusive", f"the check {name} was not made") for name in REQUIRED if name not in present
    ]
    if not evidence.guard:
        found.append(("inconclusive", "the guard did not look at the change"))
    return found


def _broken_arena(numbers: Numbers, policy: VerdictPolicy) -> list[_Finding]:
    return [
        ("inconclusive", f"the arena broke in {count} of {numbers.planned.get(split, 0)} {split} pairs")
        for split, count in numbers.invalid.items()
        if count > policy.invalid_share * numbers.planned.get(split, 0)
    ]


def _no_budget(evidence: Evidence) -> list[_Finding]:
    return [("out_of_budget", evidence.out_of_budget)] if evidence.out_of_budget else []


def _unfixed(numbers: Numbers, policy: VerdictPolicy) -> list[_Finding]:
    found: list[_Finding] = []
    passed, pairs = numbers.visible_passed, numbers.visible_pairs
    if pairs and passed < policy.visible_fixed * pairs:
        found.append(("needs_work", f"{passed} of {pairs} visible cases are answered right"))
    gain = numbers.gain
    if gain.pairs and gain.won <= gain.lost:
        found.append(
            ("needs_work", f"no gain on held-out cases: {gain.won} won, {gain.lost} lost, {gain.tied} tied")
        )
    return found


def _unproven(numbers: Numbers, policy: VerdictPolicy) -> list[_Finding]:
    found: list[_Finding] = []
    if not numbers.gain_shown:
        found.append(("inconclusive", _gain_sentence(numbers)))
    for split in ("visible", "regression"):
        done, planned = numbers.done[split], numbers.planned.get(split, 0)
        if done < planned or not planned:
            found.append(("inconclusive", f"{done} of {planned} {split} cases were replayed on both arms"))
    if numbers.margin > policy.widest_margin:
        found.append(
            (
                "inconclusive",
                f"{numbers.regression_pairs} regression cases carry a margin of {100 * numbers.margin:.1f} "
                f"points at best; {100 * policy.widest_margin:.0f} is the widest allowed",
            )
        )
    if not numbers.harmless:
        found.append(("inconclusive", _loss_sentence(numbers)))
    return found


def _numeric_checks(numbers: Numbers, policy: VerdictPolicy) -> tuple[Check, ...]:
    passed, pairs = numbers.visible_passed, numbers.visible_pairs
    return (
        Check(
            name="gain",
            ok=numbers.gain_shown,
            reason=_gain_sentence(numbers),
        ),
        Check(
            name="visible_fixed",
            ok=pairs > 0 and passed >= policy.visible_fixed * pairs,
            reason=f"{passed} of {pairs} visible cases pass",
        ),
        Check(name="no_harm", ok=numbers.harmless, reason=_loss_sentence(numbers)),
    )


def _loss_sentence(numbers: Numbers) -> str:
    unknown = f" and {numbers.regression_unknown} unknown" if numbers.regression_unknown else ""
    return (
        f"{numbers.regression_losses} of {numbers.regression_pairs} regression cases lost{unknown}: at most "
        f"{100 * numbers.upper_bound:.1f} points at {100 * numbers.confidence:g} % confidence, "
        f"margin {100 * numbers.margin:.1f}"
    )


def _gain_sentence(numbers: Numbers) -> str:
    gain = numbers.gain
    return (
        f"{gain.won} won, {gain.lost} lost, {gain.tied} tied of {gain.pairs} held-out pairs: "
        f"e-value {gain.peak:.1f}, needed {numbers.needed:.0f}"
    )


def _story(numbers: Numbers) -> str:
    fixed = f"{numbers.visible_passed} of {numbers.visible_pairs} visible cases fixed"
    return f"{_gain_sentence(numbers)}; {fixed}; {_loss_sentence(numbers)}"
