"""`evolve run`."""

import json
import random
import time
from typing import Any

import click

from evolve import evolution, jobs, views
from evolve.cli.context import open_product, person
from evolve.cli.output import Group, json_option, print_fields, print_json, print_table, reason_option, say
from evolve.cli.progress import Progress
from evolve.errors import Broken, Refused
from evolve.product import Product
from evolve.record import MAX_TEXT, record_of
from evolve.sanitize import for_terminal
from evolve.settings import DEPTHS
from evolve.stage import Place
from evolve.views import RunDetail


@click.group(cls=Group)
def run() -> None:
    """Evolution runs: one run works on one sealed batch."""


@run.command("list")
@click.option("--batch", "batch_id", help="Only of this batch.")
@json_option
def list_runs(batch_id: str | None, as_json: bool) -> None:
    """Newest first."""
    with open_product() as product:
        found = views.list_runs(product.store.read, batch_id)
    if as_json:
        print_json(found)
        return
    rows = [
        (r.id, r.state, r.verdict or "", f"{r.iteration} {r.stage}", r.trials, f"{r.seconds:.0f} s")
        for r in found
    ]
    print_table(("id", "state", "verdict", "at", "trials", "time"), rows, "no runs; `evolve run start BATCH`")


@run.command()
@click.argument("batch_id")
@reason_option
@click.option(
    "--depth", type=click.Choice(tuple(DEPTHS)), help="How far to go; sets what is not given by itself."
)
@click.option("--coder", multiple=True, help="`mend`, or a name under [coders]; several take turns.")
@click.option("--model", help="The model that the coders ask for, in place of their own.")
@click.option("--planner", help="A name under [coders]: who plans before they edit.")
@click.option("--reviewer", help="A name under [coders]: who argues against each plan and change.")
@click.option("--candidates", type=click.IntRange(1, 16), help="Proposals of one pass.")
@click.option("--iterations", type=click.IntRange(1, 20), help="Passes at most.")
@click.option("--max-usd", type=click.FloatRange(min=0), help="Money at most.")
@click.option("--max-tokens", type=click.IntRange(min=0), help="Tokens at most.")
@click.option("--max-minutes", type=click.FloatRange(min=0, min_open=True), help="Wall time at most.")
@click.option("--seed", type=int, help="Same seed, same plan; default: drawn, and shown.")
@click.option("--detach", is_flag=True, help="Leave the work to `evolve worker`.")
@click.option("--as", "who", help="Who asks; default $EVOLVE_PERSON or the login name.")
@json_option
def start(
    batch_id: str,
    reason: str,
    coder: tuple[str, ...],
    seed: int | None,
    detach: bool,
    who: str | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Propose and prove a fix for a sealed batch."""
    options: dict[str, object] = {name: value for name, value in limits.items() if value is not None}
    if coder:
        options["coder"] = ",".join(coder)
    if detach:
        options["detached"] = True
    with open_product() as product:
        run_id = evolution.start_run(
            product,
            batch_id,
            requester=person(who),
            reason=reason,
            seed=random.randrange(1 << 31) if seed is None else seed,
            options=options,
        )
        if detach:
            _hint_the_queue(product, run_id)
            print_json({"run": run_id, "state": "queued"}) if as_json else say(f"queued run {run_id}")
            return
        say(f"run {run_id}")
        _work(product, run_id, as_json)


def _hint_the_queue(product: Product, run_id: str) -> None:
    try:
        client = jobs.connect(product.settings)
    except Broken:
        say("no queue answers; `evolve worker` finds the run in the database when it starts")
        return
    with client:
        jobs.enqueue(client, product.settings, run_id)


def _work(product: Product, run_id: str, as_json: bool) -> None:
    with Progress() as progress:

        def listen(stage: str, text: str) -> None:
            progress.keep(text) if stage in ("verdict", "run", "locate", "baseline") else progress.line(text)

        word = evolution.work_on(product, run_id, listen)
    detail = views.get_run(product.store.read, run_id, max_events=0)
    if as_json:
        print_json(detail.run)
    else:
        _print(detail)
    if word != "converged":
        raise (
            Refused(f"run {run_id}: {word or 'stopped'}: {detail.run.verdict_reason}")
            if not as_json
            else click.exceptions.Exit(1)
        )


@run.command()
@click.argument("run_id")
@json_option
def status(run_id: str, as_json: bool) -> None:
    """Where a run stands: stages, spending, candidates."""
    with open_product() as product:
        detail = views.get_run(product.store.read, run_id)
    print_json(detail) if as_json else _print(detail)


@run.command()
@click.argument("run_id")
@click.option("--stage", "stage_name", help="Only this one, e.g. plan or code_review.")
@json_option
def show(run_id: str, stage_name: str | None, as_json: bool) -> None:
    """The record of a run: every prompt, answer, diff, review and score."""
    with open_product() as product:
        found = record_of(product.store, run_id, stage_name)
    if as_json:
        print_json(found)
        return
    for one in found:
        place = Place(one.stage.iteration, one.stage.proposal, one.stage.round)
        say_where = f"{place.words}: " if place.words else ""
        click.echo(f"== {say_where}{one.stage.name} ==")
        for name, value in one.output.items():
            text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
            click.echo(f"{name}: {for_terminal(text, cap=MAX_TEXT)}")
        click.echo()


@run.command()
@click.argument("run_id")
@json_option
def watch(run_id: str, as_json: bool) -> None:
    """Follow a run until it ends; with --json one object a line."""
    after = 0
    with open_product() as product:
        while True:
            detail = views.get_run(product.store.read, run_id, after_event=after)
            for event in detail.events:
                print_json(event) if as_json else click.echo(
                    f"{event.at:%H:%M:%S}  {event.stage:<12}  {event.text}"
                )
            after = detail.last_event or after
            if not detail.run.active:
                break
            time.sleep(0.5)
    if not as_json:
        _print(detail)


@run.command()
@click.argument("run_id")
@json_option
def stop(run_id: str, as_json: bool) -> None:
    """Ask a run to stop; it ends within seconds and can be resumed."""
    with open_product() as product:
        state = evolution.stop_run(product, run_id)
    print_json({"run": run_id, "state": state}) if as_json else say(f"run {run_id}: {state}")


@run.command()
@click.argument("run_id")
@json_option
def resume(run_id: str, as_json: bool) -> None:
    """Go on after a stop or a crash; finished stages are not repeated."""
    with open_product() as product:
        _work(product, run_id, as_json)


def _print(detail: RunDetail) -> None:
    found = detail.run
    names = ("id", "batch_id", "state", "verdict", "verdict_reason", "coder", "seed", "candidate_id")
    print_fields((name, getattr(found, name)) for name in names)
    print_fields(
        [
            (
                "spent",
                f"{found.usd_micros / 1e6:.4f} USD, {found.tokens} tokens, {found.trials} trials, {found.seconds:.1f} s",
            )
        ]
    )
    rows = [
        (
            s.iteration,
            s.proposal or "",
            s.name,
            s.state,
            f"{s.usd_micros / 1e6:.4f}",
            s.tokens,
            s.trials,
            f"{s.seconds:.1f} s" if s.seconds is not None else "",
        )
        for s in detail.stages
    ]
    print_table(
        ("pass", "proposal", "stage", "state", "USD", "tokens", "trials", "time"), rows, "no stage yet"
    )
