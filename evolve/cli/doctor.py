"""`evolve doctor`."""

import click

from containers.conformance import Finding
from containers.doctor import check_engine
from containers.substrate import SubstrateManifest
from evidence import queries
from evolve import evolution
from evolve.arenas import open_arena
from evolve.cli.context import open_product, person
from evolve.cli.output import json_option, print_json, print_table, say
from evolve.coding import get_coder, installed
from evolve.coding.clis import ADAPTERS
from evolve.coding.protocol import Missing
from evolve.errors import Broken, NeedsConsent
from evolve.prices import prices
from evolve.product import Product
from evolve.settings import WORKFLOWS, ConsentSection, Endpoint, Settings
from promote.haproxy_files import MISSING, REMEDY, find_haproxy
from promote.policy import MAY_APPROVE
from promote.settings import EdgeKind
from trial.standing import baseline_against_itself, do_nothing


@click.command()
@click.option("--deep", is_flag=True, help="Also put the baseline and a do-nothing agent through the gate.")
@click.option("--quick", is_flag=True, help="Leave out the tries to break out of a sandbox.")
@json_option
def doctor(deep: bool, quick: bool, as_json: bool) -> None:
    """What this machine and this substrate can promise, and what not. Exit code 5 when something fatal is found."""
    with open_product() as product:
        settings = product.settings
        findings = check_engine(
            settings.home, runtime=settings.runtime, docker=settings.docker, thorough=not quick
        )
        findings += check_approvers(settings.consent, person(None))
        findings += check_edge(settings.edge.kind, find_haproxy())
        findings += check_substrate(product.manifest)
        findings += check_coders(product)
        findings += check_prices(settings)
        findings += check_coding_clis()
        if deep:
            findings += check_gate(product)
    fatal = [found for found in findings if not found.ok and found.severity == "fatal"]
    if as_json:
        print_json(
            [{"name": f.name, "ok": f.ok, "severity": f.severity, "detail": f.detail} for f in findings]
        )
    else:
        rows = [("ok" if f.ok else f.severity, f.name, f.detail) for f in findings]
        print_table(("", "what", "detail"), rows, "nothing to check")
    if fatal:
        raise (
            click.exceptions.Exit(5) if as_json else Broken(f"{len(fatal)} fatal findings: {fatal[0].detail}")
        )
    say("nothing fatal")


def check_edge(kind: EdgeKind, haproxy: str | None) -> list[Finding]:
    """HAProxy where it is asked for; `haproxy` is the path of its program."""
    if kind == "embedded":
        return []
    return [Finding("edge.haproxy", haproxy is not None, haproxy or f"{MISSING}; {REMEDY}")]


def check_approvers(consent: ConsentSection, asker: str) -> list[Finding]:
    """Whether enough people may approve what `asker` asks for: who asked does not count, but under `solo`."""
    may = {name for name, known in consent.people.items() if MAY_APPROVE & set(known.roles)}
    others = may if consent.policy == "solo" else may - {asker}
    kinds = (
        ("consent.approvers", "a candidate", 1),
        ("consent.two", "a candidate with more capabilities, another state schema or a lossy rollback", 2),
    )
    found = []
    for name, what, least in kinds:
        needed = max(least, consent.approvers_needed)
        lacking = f"{what} needs {needed} approvers, {len(others)} may approve what {asker} asks for: `evolve people add`"
        enough = len(others) >= needed
        found.append(Finding(name, enough, "" if enough else lacking, "warning"))
    return found


def check_substrate(manifest: SubstrateManifest) -> list[Finding]:
    """What the manifest lacks, each with what can't be promised then."""
    facts = (
        ("canaries", bool(manifest.canaries), "the probe asks for readiness only: a service that does not work may go live"),
        ("self_test", bool(manifest.self_test), "whether an older image can read newer state is not tried before a swap"),
        ("migrate", bool(manifest.migrate), "a change of the state's format can't be promoted"),
        ("checks", bool(manifest.checks), "no check of its own refuses a candidate before its trial"),
        ("lock_file", bool(manifest.lock_file), "dependencies: none beyond the standard library"),
        ("delete_session", bool(manifest.delete_session), "a probe's session stays in the state"),
        ("feedback", bool(manifest.feedback_path), "users can't flag a turn"),
    )  # fmt: skip
    return [
        Finding(f"substrate.{name}", there, "" if there else f"missing: {lacking}", "warning")
        for name, there, lacking in facts
    ]


def check_coders(product: Product) -> list[Finding]:
    """Each coder that is configured, and what it lacks."""
    found = []
    for name in ("mend", WORKFLOWS, *product.settings.coders):
        answer = get_coder(name, product.settings, product.settings.run).probe()
        if isinstance(answer, Missing):
            found.append(Finding(f"coder.{name}", False, answer.reason, "warning"))
        else:
            found.append(
                Finding(f"coder.{name}", not answer.warning, answer.warning or answer.text, "warning")
            )
    return found


def check_prices(settings: Settings) -> list[Finding]:
    """Each model that is configured, and whether a cap on money can be held for it."""
    coders = {f"coders.{name}": coder for name, coder in settings.coders.items()}
    tables: dict[str, Endpoint] = {"model": settings.model, **coders}
    lacking = "not set: no run may ask this model"
    return [
        Finding(f"price.{name}", bool(prices(table)), "" if prices(table) else lacking, "warning")
        for name, table in tables.items()
        if table.base_url
    ]


def check_coding_clis() -> list[Finding]:
    """Every CLI that could be configured: where it was found, and which version."""
    found = []
    for adapter in ADAPTERS.values():
        there = installed.find(adapter)
        detail = there if isinstance(there, str) else f"{there.version or 'unknown version'}, {there.program}"
        found.append(Finding(f"cli.{adapter.kind}", not isinstance(there, str), detail, "info"))
    return found


def check_gate(product: Product) -> list[Finding]:
    """The standing checks on the newest sealed batch: neither of them may converge."""
    sealed = [b for b in queries.list_batches(product.store) if b.sealed_digest]
    if not sealed:
        raise NeedsConsent("--deep needs a sealed batch", hint="`evolve batch seal`")
    batch = evolution.load_sealed(product, sealed[0].id)
    graders, manifest = product.graders, product.manifest
    with open_arena(product, manifest) as arena:
        results = (
            baseline_against_itself(arena, batch, graders, seed=1),
            do_nothing(product.runtime, arena, batch, graders, manifest, seed=1),
        )
        return [Finding(f"gate.{result.name}", result.ok, result.reason) for result in results]
