"""`evolve scan` and `evolve evidence`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from evidence import flags, queries
from evidence.intake import IntakeReport, intake
from evidence.store import NotFound as EvidenceNotFound
from evolve.cli.context import open_product, person
from evolve.cli.output import Group, json_option, print_fields, print_json, print_table, reason_option, say
from evolve.errors import NotFound
from evolve.product import Product


@click.command()
@json_option
def scan(as_json: bool) -> None:
    """Read what is new in the logs, find failures, gather them into batches."""
    with open_product() as product:
        report = run_intake(product)
    if as_json:
        print_json(asdict(report))
        return
    say(
        f"{report.events} events and {report.calls} calls read; {report.turns} turns judged, {report.evidence} failed"
    )
    if report.batches:
        say(f"{report.batches} batches opened; `evolve batch` lists them")
    for log, reason in report.aside[:10]:
        say(f"kept aside from {log}: {reason}")
    for line in (*report.broken_rules, *report.warnings):
        say(f"warning: {line}")


def run_intake(product: Product) -> IntakeReport:
    return intake(product.store, product.sources(), redactor=product.redactor, rules=product.rules)


@click.group(cls=Group)
def evidence() -> None:
    """Failed turns, with the signal that says why."""


@evidence.command("list")
@click.option("--batch", "batch_id", help="Only of this batch.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_evidence(batch_id: str | None, limit: int, as_json: bool) -> None:
    """Newest failures first."""
    with open_product() as product:
        records = queries.list_evidence(product.store, batch_id=batch_id, limit=limit)
    if as_json:
        print_json(records)
        return
    rows = [(r.id, r.at[:19], r.session, r.title, r.batch_id or r.held) for r in records]
    print_table(("id", "at", "session", "failure", "batch"), rows, "no failures so far")


@evidence.command()
@click.argument("evidence_id")
@json_option
def show(evidence_id: str, as_json: bool) -> None:
    """One failure: request, reply, signals, workflows that were tried, calls."""
    with open_product() as product:
        try:
            found = queries.get_evidence(product.store, evidence_id)
        except EvidenceNotFound as error:
            raise NotFound(str(error), hint="`evolve evidence list` names them") from None
    if as_json:
        print_json(found)
        return
    print_fields(
        (name, getattr(found, name)) for name in ("id", "request_id", "session", "batch_id", "image", "at")
    )
    for signal in found.signals:
        print_fields([(f"{signal.kind} {signal.name}", signal.reason)])
    if found.turn is not None:
        print_fields(
            [("request", found.turn.body), ("status", found.turn.status), ("reply", found.turn.reply)]
        )
    print_fields(_tried(event) for event in found.events if event.get("kind") == "workflow")
    print_fields((f"{call.kind} {call.target}", call.response) for call in found.calls)


def _tried(event: Mapping[str, Any]) -> tuple[str, str]:
    """What became of a workflow of the turn."""
    how = "answered" if event["answered"] else "ran, no answer" if event["ran"] else "not run"
    late = ["cut off"] if event.get("cut_off") else []
    steps = [
        " ".join(filter(None, (step["id"], step.get("tool"), step["state"], step.get("error"))))
        for step in event["steps"]
    ]
    wanted = [f"for: {event['request']}"] if "request" in event else []
    spent = [f"{event[name]} {name}" for name in ("drafts", "tokens") if name in event]
    return f"{event['source']} workflow", "; ".join(
        [event["name"], how, *late, *wanted, *spent, *steps, *event.get("doubts", ())]
    )


@evidence.command()
@click.argument("request_id")
@reason_option
@click.option("--as", "who", help="Who says so; default $EVOLVE_PERSON or the login name.")
@json_option
def flag(request_id: str, reason: str, who: str | None, as_json: bool) -> None:
    """Say that a turn was wrong; the next scan judges it again."""
    with open_product() as product:
        try:
            flag_id = flags.flag(
                product.store,
                request_id,
                who=person(who),
                reason=reason,
                redactor=product.redactor,
                operator=True,
            )
        except EvidenceNotFound as error:
            raise NotFound(str(error), hint="`evolve scan` first, if the turn is new") from None
    print_json({"flag": flag_id}) if as_json else say(
        f"flagged {request_id}; the next `evolve scan` judges it again"
    )
