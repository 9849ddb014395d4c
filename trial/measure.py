"""From trials to numbers: pairs, the gain's e-value, the harm's bound. No word is said here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

from trial import statistics as stats
from trial.report import Arm, Check, Frozen, Split, SplitCount, Trial

REAL: tuple[Split, ...] = ("visible", "held_out", "regression")

Share = Annotated[float, Field(ge=0, le=1)]


class VerdictPolicy(Frozen):
    """How much evidence a verdict needs: `[verdict]` in `evolve.toml`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of accepting a candidate without a gain, per batch; split over the batch's candidates."""
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.03
    """Share of regression cases that may be lost at most, at `confidence`."""
    widest_margin: Annotated[float, Field(gt=0, lt=1)] = 0.10
    """Fewer regression cases carry only a wider margin; this is the widest that may converge."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the bound on lost regression cases."""
    visible_fixed: Share = 1.0
    """Share of the visible cases that the candidate must pass."""
    invalid_share: Share = 0.1
    """More pairs than this share lost to a broken arena void a split."""
    latency_factor: Annotated[float, Field(gt=1)] = 1.5
    """A candidate slower than this factor in the median pair does harm."""
    latency_floor: Annotated[float, Field(ge=0)] = 0.05
    """Seconds that a turn may become slower before the factor counts."""
    slow_share: Share = 0.1
    """Share of turns that may become slower by factor and floor, beyond as many that become faster."""


@dataclass(frozen=True)
class Outcomes:
    """One case on both arms. A missing answer is never imputed in the candidate's favour."""

    case_id: str
    baseline: Trial
    candidate: Trial

    @property
    def valid(self) -> bool:
        return "invalid" not in (self.baseline.outcome, self.candidate.outcome)

    @property
    def comparable(self) -> bool:
        """A candidate that could break the arena at will must not choose which pairs count."""
        return self.baseline.outcome != "invalid"

    @property
    def result(self) -> stats.PairResult:
        return stats.pair_result(self.baseline.outcome == "pass", self.candidate.outcome == "pass")


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict looks at."""

    trials: Sequence[Trial]
    """In plan order; of several rows for one case and arm (retries) the last one counts."""
    planned: Mapping[Split, int]
    """Cases that the plan held, by split."""
    checks: tuple[Check, ...]
    guard: tuple[Check, ...]
    """The guard's answers on the commit's tree."""
    candidates_in_batch: int = 1
    out_of_budget: str | None = None
    """Which budget ended the comparison before it was decided."""


@dataclass(frozen=True)
class Numbers:
    """What the trials say, before any word."""

    gain: stats.EProcess
    needed: float
    visible_passed: int
    visible_pairs: int
    regression_pairs: int
    """Valid pairs whose baseline passed on the re-run: only those can be lost."""
    regression_losses: int
    regression_unknown: int
    """Pairs whose candidate never gave a valid trial; the bound counts them as lost."""
    confidence: float
    margin: float
    upper_bound: float
    done: Mapping[Split, int]
    invalid: Mapping[Split, int]
    planned: Mapping[Split, int]

    @property
    def gain_shown(self) -> bool:
        return self.gain.reached(self.needed)

    @property
    def harmless(self) -> bool:
        return self.upper_bound <= self.margin


def pair_up(trials: Iterable[Trial], split: Split) -> list[Outcomes]:
    """Both arms of each case, in the order of first appearance; cases with one arm are left out."""
    arms: dict[str, dict[Arm, Trial]] = {}
    for trial in trials:
        if trial.split == split:
            arms.setdefault(trial.case_id, {})[trial.arm] = trial
    return [
        Outcomes(case, both["baseline"], both["candidate"]) for case, both in arms.items() if len(both) == 2
    ]


def is_clean(trials: Iterable[Trial]) -> bool:
    """No regression case has failed on the candidate: there is no loss whose bound could matter."""
    return all(t.outcome == "pass" for t in trials if t.split == "regression" and t.arm == "candidate")


def measure(evidence: Evidence, policy: VerdictPolicy) -> Numbers:
    """The numbers of a comparison, complete or not."""
    pairs = {split: pair_up(evidence.trials, split) for split in REAL}
    held_out = [pair for pair in pairs["held_out"] if pair.comparable]
    visible = [pair.candidate.outcome for pair in pairs["visible"] if pair.comparable]
    worked = [pair for pair in pairs["regression"] if pair.baseline.outcome == "pass"]
    lost = [pair.candidate.outcome for pair in worked if pair.result == "lost"]
    return Numbers(
        gain=stats.run_pairs(pair.result for pair in held_out),
        needed=stats.threshold(policy.alpha, evidence.candidates_in_batch),
        visible_passed=visible.count("pass"),
        visible_pairs=len(visible),
        regression_pairs=len(worked),
        regression_losses=lost.count("fail"),
        regression_unknown=lost.count("invalid"),
        confidence=policy.confidence,
        margin=stats.margin_for(len(worked), policy.margin, policy.confidence),
        upper_bound=stats.loss_upper_bound(len(lost), len(worked), policy.confidence),
        done={split: len(some) for split, some in pairs.items()},
        invalid={split: sum(not pair.valid for pair in some) for split, some in pairs.items()},
        planned=evidence.planned,
    )


def count(trials: Iterable[Trial], arm: Arm) -> dict[str, SplitCount]:
    """Passed, failed and invalid cases of one arm, by split; the last row of a case counts."""
    last = {(trial.split, trial.case_id): trial.outcome for trial in trials if trial.arm == arm}
    counts: dict[str, SplitCount] = {}
    for split in (*REAL, "honeypot"):
        outcomes = [outcome for (where, _), outcome in last.items() if where == split]
        counts[split] = SplitCount(
            cases=len(outcomes),
            passed=outcomes.count("pass"),
            failed=outcomes.count("fail"),
            invalid=outcomes.count("invalid"),
        )
    return counts
