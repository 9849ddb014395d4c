"""`evolve approve`, `decline`, `promote`, `rollback`: a person's decisions."""

import click

from evolve import consent
from evolve.cli.context import open_product, person
from evolve.cli.output import dry_run_option, json_option, print_json, reason_option, say
from evolve.cli.people import ask_passphrase
from evolve.cli.progress import Progress
from evolve.errors import BadInput, Broken, Refused
from evolve.product import Product
from evolve.rollback import way_back
from evolve.settle import settle
from evolve.signatures import Signed
from evolve.story import candidate_story
from evolve.views import Decided, SwapAsked
from promote.records import SwapRecord

WAIT_BEYOND_BAKE = 900.0
as_option = click.option("--as", "who", help="Who decides; default $EVOLVE_PERSON or the login name.")


@click.command()
@click.argument("candidate_id")
@reason_option
@as_option
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input.")
@click.option("--digest", "confirm", help="Last 8 hex digits of the image; asked for at a terminal.")
@click.option(
    "--accept-lossy",
    is_flag=True,
    help="Agree that a rollback may lose what users wrote since the release; two people must.",
)
@dry_run_option
@json_option
def approve(
    candidate_id: str,
    reason: str,
    who: str | None,
    passphrase_stdin: bool,
    confirm: str | None,
    accept_lossy: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Sign exactly these bytes, or add a signature to an approval that waits for one.

    It is used once, by `evolve promote`, and expires after 24 hours.
    """
    with open_product() as product:
        settle(product)
        story = candidate_story(product.settings, product.store, candidate_id)
        row = story.candidate
        say(f"candidate {row.id}: {row.verdict}, image {row.image}")
        say(story.consent.void or story.consent.sentence)
        if story.consent.rollback_class is not None:
            say(f"rollback {story.consent.rollback_class}: {story.consent.rollback}")
        if dry_run:
            return
        if confirm is None:
            if passphrase_stdin:
                raise BadInput("--passphrase-stdin needs --digest, so that what is signed was looked at")
            confirm = click.prompt("Last 8 digits of the image", err=True)
        signed = consent.approve(
            product,
            candidate_id,
            person=person(who),
            passphrase=ask_passphrase(passphrase_stdin),
            reason=reason,
            confirm_digest=confirm,
            accept_lossy=accept_lossy,
        )
    if as_json:
        print_json(Signed.of(candidate_id, signed))
    elif signed.complete:
        say(f"approved: {signed.sentence}; `evolve promote {candidate_id}` swaps it in")
    else:
        say(f"signed: {signed.sentence}; another approver: `evolve approve {candidate_id} --reason …`")


@click.command()
@click.argument("candidate_id")
@reason_option
@as_option
@json_option
def decline(candidate_id: str, reason: str, who: str | None, as_json: bool) -> None:
    """Refuse a candidate; its batch goes back to sealed."""
    with open_product() as product:
        consent.decline(product, candidate_id, person=person(who), reason=reason)
    if as_json:
        print_json(Decided(candidate=candidate_id, state="declined"))
    else:
        say(f"declined {candidate_id}")


@click.command()
@click.argument("candidate_id")
@click.option("--detach", is_flag=True, help="Return as soon as the promoter has accepted.")
@json_option
def promote(candidate_id: str, detach: bool, as_json: bool) -> None:
    """Swap an approved candidate in, and watch it until it is committed or rolled back."""
    with open_product() as product:
        settle(product)
        swap = consent.promote(product, candidate_id)
        if detach:
            print_json(SwapAsked(swap=swap)) if as_json else say(f"accepted as swap {swap}")
            return
        record = follow(product, swap, as_json)
    _report(record, as_json)


@click.command()
@reason_option
@as_option
@click.option(
    "--swap", "meant", help="The one that is meant; refused when it is no longer the last or open one."
)
@click.option(
    "--discard-writes", is_flag=True, help="Out of a quarantine: give up what was written since the swap."
)
@json_option
def rollback(reason: str, who: str | None, meant: str | None, discard_writes: bool, as_json: bool) -> None:
    """Go back to the previous good image, or out of the swap that is open.

    After a swap that was approved as lossy this may lose what users wrote since its release.
    """
    with open_product() as product:
        way = product.ask_promoter(way_back)
        if way is not None and not as_json:
            say(f"rolling back swap {way.swap}: {way.sentence}")
        meant = meant or (way.swap if way is not None else None)
        swap = product.ask_promoter(
            lambda p: p.rollback(person(who), reason, meant, discard_writes=discard_writes)
        )
        record = follow(product, swap, as_json)
    if as_json:
        print_json(record)
    else:
        say(f"swap {swap}: {record.state}: {record.reason}")
    if record.state != "rolled_back":
        raise click.exceptions.Exit(1)


def follow(product: Product, swap: str, quiet: bool) -> SwapRecord:
    """Show a swap's steps until it ends. Raises Broken when it does not within the bake and a margin."""
    limit = product.settings.swap.bake_seconds + WAIT_BEYOND_BAKE
    with Progress() as progress:
        for row in product.ask_promoter(lambda p: p).follow(swap, limit):
            data = row["data"]
            if not quiet and isinstance(data, dict) and data.get("phase") == "done":
                progress.keep(f"{data.get('state')}  {row.get('reason') or ''}".strip())
    record = product.ask_promoter(lambda p: p.record(swap))
    if record is None:
        raise Broken(f"swap {swap} has not ended after {limit:g} s", hint="`evolve agent status`")
    settle(product)
    return record


def _report(record: SwapRecord, as_json: bool) -> None:
    committed = record.state == "committed"
    if as_json:
        print_json(record)
        if not committed:
            raise click.exceptions.Exit(1)
        return
    if not committed:
        raise Refused(f"swap {record.swap} {record.state}: {record.reason}")
    say(f"committed: {record.target_image} is live; requests were held for {record.held_ms:.0f} ms")
