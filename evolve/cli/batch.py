"""`evolve batch`."""

import click

from evidence import batch as batches
from evidence.batch import IllegalTransition
from evidence.draft import readiness
from evidence.store import NotFound as EvidenceNotFound
from evolve import views
from evolve.arenas import open_arena
from evolve.cli.context import open_product, person
from evolve.cli.output import (
    Group,
    dry_run_option,
    json_option,
    print_fields,
    print_json,
    print_table,
    reason_option,
    say,
)
from evolve.cli.progress import Progress
from evolve.errors import NotFound, Refused
from evolve.sealing import seal_batch


@click.group(cls=Group)
def batch() -> None:
    """Groups of failures that are the same failure."""


@batch.command("list")
@click.option("--state", type=click.Choice(["open", "sealed", "evolving", "ready", "applied", "dismissed"]))
@json_option
def list_batches(state: str | None, as_json: bool) -> None:
    """Newest first."""
    with open_product() as product:
        records = views.list_batches(product.store, state=state)
    if as_json:
        print_json(records)
        return
    rows = [(r.id, r.state, r.evidence, r.sessions, r.title) for r in records]
    print_table(
        ("id", "state", "failures", "sessions", "what fails"),
        rows,
        "no batches; `evolve scan` gathers failures",
    )


@batch.command()
@click.argument("batch_id")
@json_option
def show(batch_id: str, as_json: bool) -> None:
    """A batch: its cases, its life, and what it still lacks to be sealed."""
    with open_product() as product:
        found = views.report_batch(product.settings, product.store, batch_id)
    if as_json:
        print_json(found)
        return
    print_fields(
        (name, getattr(found, name)) for name in ("id", "state", "reason", "title", "evidence", "sessions")
    )
    splits = [case.split for case in found.cases if case.split]
    print_fields((split, splits.count(split)) for split in ("visible", "held_out", "regression") if splits)
    print_fields(("missing", line) for line in (found.readiness.missing if found.state == "open" else ()))
    print_fields(
        (change.at[:19], f"{change.kind} by {change.who}: {change.reason}") for change in found.changes
    )


@batch.command()
@click.argument("batch_id")
@reason_option
@click.option("--early", is_flag=True, help="Seal although there is less than asked for; the report says so.")
@click.option("--as", "who", help="Who seals; default $EVOLVE_PERSON or the login name.")
@dry_run_option
@json_option
def seal(batch_id: str, reason: str, early: bool, who: str | None, dry_run: bool, as_json: bool) -> None:
    """Replay the failures on the live image, then split and freeze the cases."""
    with open_product() as product:
        try:
            if dry_run:
                found = readiness(product.store, batch_id, product.settings.batch.seal_policy)
                print_json(found) if as_json else say("ready" if found.ready else "; ".join(found.missing))
                return
            with open_arena(product, product.manifest) as arena, Progress() as progress:
                sealed = seal_batch(
                    product,
                    arena,
                    batch_id,
                    who=person(who),
                    reason=reason,
                    early=early,
                    progress=progress.line,
                )
        except EvidenceNotFound as error:
            raise NotFound(str(error), hint="`evolve batch list` names them") from None
    counts = {name: len(getattr(sealed, name)) for name in ("visible", "held_out", "regression")}
    if as_json:
        print_json({"batch": batch_id, "digest": sealed.digest, **counts, "cannot_show": sealed.cannot_show})
        return
    say(f"sealed {batch_id}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for line in sealed.cannot_show:
        say(f"note: {line}")


@batch.command()
@click.argument("batch_id")
@reason_option
@click.option("--as", "who", help="Who dismisses; default $EVOLVE_PERSON or the login name.")
@json_option
def dismiss(batch_id: str, reason: str, who: str | None, as_json: bool) -> None:
    """Nobody wants this fixed; later failures of the group open no batch."""
    with open_product() as product:
        try:
            batches.dismiss(product.store, batch_id, reason=reason, who=person(who))
        except EvidenceNotFound as error:
            raise NotFound(str(error), hint="`evolve batch list` names them") from None
        except IllegalTransition as error:
            raise Refused(str(error)) from None
    print_json({"batch": batch_id, "state": "dismissed"}) if as_json else say(f"dismissed {batch_id}")
