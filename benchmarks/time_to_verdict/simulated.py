"""Many runs of each scenario, decided both ways from the same replays, and how often each way is wrong."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.measure import Result, say
from benchmarks.time_to_verdict import exhaustive, ours
from benchmarks.time_to_verdict.exhaustive import Counted, Level
from benchmarks.time_to_verdict.scenarios import A_A, SCENARIOS, Decision, Scenario, draw
from trial.graders import GraderSet
from trial.statistics import loss_upper_bound

SEED = 20
CHUNK = 100
REPLAY_TOKENS = 2_000
"""Stated, not measured: a replayed turn whose model calls are made live. From a recording it costs none."""
PROPOSAL_TOKENS = 100_000
"""Stated, not measured: a coder's work on one proposal."""


@dataclass(frozen=True)
class Run:
    """One simulated run: the truth, what the product decided, and what exhaustive replay would show."""

    better: tuple[bool, ...]
    """Of each proposal."""
    decision: Decision
    counted: Counted


def simulate(number: int, first: int, runs: int) -> list[Run]:
    """A scenario's runs from `first` on. Each has a seed of its own, whoever works on it and in which order."""
    scenario, done = SCENARIOS[number], []
    with GraderSet([], Path(), None) as graders:
        batch, built = ours.sealed(scenario, graders), ours.candidates(scenario)
        for run in range(first, first + runs):
            drawn = draw(scenario, (SEED, number, run))
            better = tuple(kind.better for kind in drawn.kinds)
            counted = exhaustive.count(drawn.first, scenario.cases)
            done.append(Run(better, ours.decide(batch, built, graders, scenario, drawn), counted))
    return done


def simulate_all(runs: int) -> list[list[Run]]:
    """By scenario, in order of the seeds."""
    starts = [(number, first) for number in range(len(SCENARIOS)) for first in range(0, runs, CHUNK)]
    found: dict[tuple[int, int], list[Run]] = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(simulate, number, first, min(CHUNK, runs - first)): (number, first)
            for number, first in starts
        }
        for future in as_completed(waiting):
            number, first = waiting[future]
            found[number, first] = future.result()
            if len(found) % max(1, len(starts) // 20) == 0:
                say(
                    f"time_to_verdict: {len(found)} of {len(starts)} parts, last of: {SCENARIOS[number].name}"
                )
    return [
        [run for first in range(0, runs, CHUNK) for run in found[number, first]]
        for number in range(len(SCENARIOS))
    ]


def share(hits: int, of: int) -> Result:
    """With the exact two-sided 95 % interval (Clopper and Pearson)."""
    if not of:
        return {"count": 0, "of": 0}
    low, high = 1 - loss_upper_bound(of - hits, of, 0.975), loss_upper_bound(hits, of, 0.975)
    return {
        "count": hits,
        "of": of,
        "percent": _percent(hits / of),
        "interval": [_percent(low), _percent(high)],
    }


def _percent(part: float) -> float:
    return round(100 * part, 2)


def false_accepts(runs: Sequence[Run], decisions: Sequence[Decision]) -> int:
    return sum(
        one.accepted is not None and not run.better[one.accepted - 1]
        for run, one in zip(runs, decisions, strict=True)
    )


def false_refusals(runs: Sequence[Run], decisions: Sequence[Decision]) -> int:
    """Runs in which a better one was proposed, or would have been, and nothing was accepted."""
    return sum(any(run.better) and one.accepted is None for run, one in zip(runs, decisions, strict=True))


def row(runs: Sequence[Run], decisions: Sequence[Decision]) -> Result:
    replays = sum(one.replays for one in decisions) / len(runs)
    proposals = sum(one.proposals for one in decisions) / len(runs)
    return {
        "replays": round(replays, 1),
        "proposals": round(proposals, 2),
        "tokens": round(replays * REPLAY_TOKENS + proposals * PROPOSAL_TOKENS),
        "false_accepts": share(false_accepts(runs, decisions), len(runs)),
        "false_refusals": share(false_refusals(runs, decisions), sum(any(run.better) for run in runs)),
    }


def equal_level(runs: Sequence[Run], scenario: Scenario, factor: float) -> Level:
    """The fewest held-out cases with which the peer refuses a better one no more often than the product does; all of them
    where nothing is better, or where it never gets there."""
    allowed = false_refusals(runs, [run.decision for run in runs])
    most = scenario.cases[1]
    if not any(any(run.better) for run in runs):
        return Level(factor, most)
    for held_out in range(1, most):
        level = Level(factor, held_out)
        if false_refusals(runs, [exhaustive.decide(run.counted, scenario, level) for run in runs]) <= allowed:
            return level
    return Level(factor, most)


def measure(runs: int) -> Result:
    found = simulate_all(runs)
    null = found[SCENARIOS.index(A_A)]
    factors = [exhaustive.showing_factor(run.counted, A_A) for run in null]
    shown = sum(run.decision.gain_shown for run in null)
    factor = exhaustive.equal_factor(factors, shown)
    return {
        "runs": runs,
        "seed": SEED,
        "stated_tokens": {"replay": REPLAY_TOKENS, "proposal": PROPOSAL_TOKENS},
        "gains_shown_of_nothing": {
            "factor": round(factor, 4),
            "ours": share(shown, len(null)),
            "exhaustive": share(sum(f <= factor for f in factors), len(null)),
            "exhaustive_bonferroni": share(sum(f <= 1 for f in factors), len(null)),
        },
        "scenarios": {
            scenario.name: _scenario(scenario, some, factor)
            for scenario, some in zip(SCENARIOS, found, strict=True)
        },
    }


def _scenario(scenario: Scenario, runs: Sequence[Run], factor: float) -> Result:
    level = equal_level(runs, scenario, factor)
    bonferroni = Level(1.0, scenario.cases[1])
    by_ours = row(runs, [run.decision for run in runs])
    equal = row(runs, [exhaustive.decide(run.counted, scenario, level) for run in runs])
    return {
        "cases": list(scenario.cases),
        "proposals": [len(kinds) for kinds in scenario.passes],
        "ours": by_ours,
        "exhaustive": {"alpha": level.alpha(scenario), "held_out": level.held_out, **equal},
        "exhaustive_bonferroni": row(
            runs, [exhaustive.decide(run.counted, scenario, bonferroni) for run in runs]
        ),
        "replays_ratio": round(by_ours["replays"] / equal["replays"], 3),
        "tokens_ratio": round(by_ours["tokens"] / equal["tokens"], 3),
    }
