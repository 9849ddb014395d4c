"""`evolve run`."""

import random
from typing import Any

import click

from evolve import evolution, jobs, views
from evolve.cli.context import open_product, person
from evolve.cli.output import Group, json_option, print_json, print_table, reason_option, say
from evolve.cli.progress import Progress
from evolve.cli.run_print import print_record, print_run
from evolve.cli.watch import watch
from evolve.errors import Broken, Refused
from evolve.product import Product
from evolve.record import record_of
from evolve.settings import DEPTHS


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
@click.option("--judge", help="A name under [coders]: who scores replies blind; it decides nothing.")
@click.option("--candidates", type=click.IntRange(1, 16), help="Proposals of one pass.")
@click.option("--iterations", type=click.IntRange(1, 20), help="Passes at most.")
@click.option(
    "--stop-at-limit/--no-stop-at-limit",
    default=None,
    help="End before a coder is paid where every failure is shown to be the model's.",
)
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
        print_run(detail)
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
    print_json(detail) if as_json else print_run(detail)


@run.command()
@click.argument("run_id")
@click.option("--stage", "stage_name", help="Only this one, e.g. plan or code_review.")
@json_option
def show(run_id: str, stage_name: str | None, as_json: bool) -> None:
    """The record of a run: costs, population, and every prompt, answer, diff, review and score."""
    with open_product() as product:
        found = record_of(product.settings, product.store, run_id, stage_name)
    print_json(found) if as_json else print_record(found)


run.add_command(watch)


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
