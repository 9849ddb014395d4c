"""Runs in a terminal: where one stands, what it cost, what it tried."""

import json
from collections.abc import Iterable

import click

from evolve.cli.output import print_fields, print_table
from evolve.record import MAX_TEXT, RunRecord
from evolve.sanitize import for_terminal, one_line
from evolve.stage import Place
from evolve.views import Cost, PopulationView, ProposalView, RunCosts, RunDetail

COSTS = ("USD", "tokens", "trials", "time")


def print_run(detail: RunDetail) -> None:
    found = detail.run
    names = ("id", "batch_id", "state", "verdict", "verdict_reason", "coder", "seed", "candidate_id")
    print_fields((name, getattr(found, name)) for name in names)
    print_fields([("spent", cost_in_words(detail.costs.total))])
    stages = (
        (
            stage.iteration,
            stage.proposal or "",
            stage.name,
            stage.state,
            *_cells(stage.cost),
        )
        for stage in detail.stages
    )
    print_table(("pass", "proposal", "stage", "state", *COSTS), stages, "no stage yet")


def print_record(record: RunRecord) -> None:
    """Everything: what it cost, what it tried, and each stage's answer."""
    print_fields([("spent", cost_against(record.costs.total, record.limits))])
    click.echo("\n== costs by stage ==")
    print_costs(record.costs)
    click.echo("\n== population ==")
    print_population(record.population)
    click.echo()
    for one in record.stages:
        where = Place(one.stage.iteration, one.stage.proposal, one.stage.round).words
        click.echo(f"== {where}: {one.stage.name} ==" if where else f"== {one.stage.name} ==")
        for name, value in one.output.items():
            text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
            click.echo(f"{name}: {for_terminal(text, cap=MAX_TEXT)}")
        click.echo()


def print_costs(costs: RunCosts) -> None:
    rows = [(one.name, *_cells(one.cost)) for one in costs.stages]
    if costs.unassigned != Cost():
        rows.append(("(of no stage)", *_cells(costs.unassigned)))
    print_table(("stage", *COSTS), [*rows, ("in all", *_cells(costs.total))], "")


def print_population(population: PopulationView) -> None:
    controls: Iterable[tuple[object, ...]] = (
        (control.name, "", "", f"{control.gain:g} of {len(population.failing)}", "", "", "", "control", "")
        for control in population.controls
    )
    rows = (_proposal(population, one) for one in population.proposals)
    columns = ("proposal", "from", "coder", "mends", "breaks", "change", "USD", "state", "why")
    print_table(columns, [*controls, *rows], "no proposal yet")


def _proposal(population: PopulationView, one: ProposalView) -> tuple[object, ...]:
    made = [population.made(parent) for parent in one.parents]
    return (
        f"{one.iteration}.{one.proposal}",
        " + ".join(f"{where[0]}.{where[1]}" if where else "?" for where in made) or "live image",
        one.coder,
        f"{one.gain:g} of {len(one.scores)}" if one.scores else "",
        len(one.breaks) if one.scores else "",
        f"+{one.lines_added} -{one.lines_removed}" if one.candidate else "",
        _usd(one.cost),
        f"{one.state} {one.candidate.verdict or '' if one.candidate else ''}".strip(),
        one_line(one.why, cap=80),
    )


def cost_in_words(cost: Cost) -> str:
    return f"{_usd(cost)} USD, {cost.tokens} tokens, {cost.trials} trials, {cost.seconds:.1f} s"


def cost_against(spent: Cost, limits: Cost) -> str:
    return (
        f"{_usd(spent)} of {limits.usd_micros / 1e6:g} USD, {spent.tokens} of {limits.tokens} tokens, "
        f"{spent.trials} of {limits.trials} trials, {spent.seconds:.0f} of {limits.seconds:.0f} s"
    )


def _cells(cost: Cost) -> tuple[object, ...]:
    return _usd(cost), cost.tokens, cost.trials, f"{cost.seconds:.1f} s"


def _usd(cost: Cost) -> str:
    return f"{cost.usd_micros / 1e6:.4f}"
