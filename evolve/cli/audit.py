"""`evolve audit`."""

from dataclasses import asdict
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evidence.ledger import Ledger, LedgerBroken, Verification
from evolve import journal
from evolve.cli.context import open_product
from evolve.cli.output import Group, json_option, print_fields, print_json, print_table, say
from evolve.errors import Broken, Refused
from evolve.product import Product
from promote.attest import verify_all
from promote.keys import machine_key


class AuditGroup(Group):
    default = "tail"


@click.group(cls=AuditGroup)
def audit() -> None:
    """What was decided and done, by whom, and whether the record is whole."""


@audit.command()
@click.option("-n", "limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@json_option
def tail(limit: int, as_json: bool) -> None:
    """The newest entries of both ledgers."""
    with open_product() as product:
        found = list(reversed(journal.history(product.settings, limit)))
    if as_json:
        print_json(found)
        return
    rows = [(f"{e.at:%Y-%m-%d %H:%M:%S}", e.ledger, e.seq, e.kind, e.who, e.reason) for e in found]
    print_table(("at", "ledger", "entry", "what", "who", "why"), rows, "nothing was recorded so far")


@audit.command()
@json_option
def verify(as_json: bool) -> None:
    """Read both ledgers again: hashes, order, single-use keys, signed checkpoints; and the signed provenance of every
    accepted swap. Exit code 1 when something is not whole."""
    with open_product() as product:
        found = verify_ledgers(product)
        signed = verify_provenance(product)
    valid = signed.ok and all(result.ok for result in found.values())
    if as_json:
        ledgers = {name: asdict(result) for name, result in found.items()}
        print_json({"valid": valid, "ledgers": ledgers, "provenance": asdict(signed)})
    for name, result in {**found, "provenance": signed}.items() if not as_json else ():
        print_fields([(name, f"{result.entries} entries, {'whole' if result.ok else 'NOT WHOLE'}")])
        print_fields(("problem", line) for line in result.problems)
        print_fields(("note", line) for line in result.notes)
    if not valid:
        raise click.exceptions.Exit(1) if as_json else Refused("a ledger or a provenance was changed")
    say("both ledgers and the provenance of every accepted swap are whole")


def verify_ledgers(product: Product) -> dict[str, Verification]:
    """Both files, each against the signed checkpoints that were written elsewhere."""
    key = machine_key(product.paths.checkpoint_key)
    public = key.public_key()
    return {
        "product": _verify(product, "product", product.settings.home / "ledger.db", public),
        "promoter": _verify(product, "promoter", product.paths.promoter_ledger, public),
    }


def verify_provenance(product: Product) -> Verification:
    """The envelope of every swap that the promoter's ledger says was accepted."""
    place = product.paths.promoter_ledger
    if not place.exists():
        return Verification(True, 0, ())
    key = machine_key(product.paths.checkpoint_key).public_key()
    try:
        with Ledger(place, create=False) as ledger:
            return verify_all(ledger.entries(), product.paths.swaps, key)
    except (LedgerBroken, ValueError) as error:
        return Verification(False, 0, (f"unreadable: {error}",))


def _verify(product: Product, name: str, place: Path, key: Ed25519PublicKey) -> Verification:
    checkpoints = product.settings.home / "checkpoints" / name
    if not place.exists():
        missing = checkpoints.is_dir() and any(checkpoints.iterdir())
        return Verification(not missing, 0, (f"{place}: missing",) if missing else (), ())
    try:
        with Ledger(place, create=False) as ledger:
            return ledger.verify(checkpoints, key)
    except LedgerBroken as error:
        raise Broken(str(error)) from None
