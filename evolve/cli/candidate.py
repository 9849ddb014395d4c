"""`evolve candidate`."""

import json
from pathlib import Path

import click

from evolve import runs, views, worktree
from evolve.candidate import Candidate
from evolve.cli.context import open_product
from evolve.cli.output import Group, json_option, print_fields, print_json, print_table, say
from evolve.errors import BadInput, NotFound, Refused
from evolve.product import Product
from evolve.sanitize import for_page
from evolve.story import candidate_story
from evolve.tables import CandidateRow
from promote.attest import AttestationRefused, envelope_path, read_envelope
from promote.keys import machine_key, public_text


@click.group(cls=Group)
def candidate() -> None:
    """Proposed fixes."""


@candidate.command("list")
@click.option("--state", help="built, tried, ready, approved, declined, committed or rolled_back.")
@click.option("--run", "run_id", help="Only of this run.")
@json_option
def list_candidates(state: str | None, run_id: str | None, as_json: bool) -> None:
    """Newest first."""
    with open_product() as product:
        found = views.list_candidates(product.store.read, state=state, run_id=run_id)
    if as_json:
        print_json(found)
        return
    rows = [(c.id, c.state, c.verdict or "", c.commit[:12], c.image[-12:], c.run_id) for c in found]
    print_table(("id", "state", "verdict", "commit", "image", "run"), rows, "no candidates so far")


@candidate.command()
@click.argument("candidate_id")
@json_option
def show(candidate_id: str, as_json: bool) -> None:
    """The story of a candidate: what failed, the change, before and after, checks, cost."""
    with open_product() as product:
        story = candidate_story(product.settings, product.store, candidate_id)
    if as_json:
        print_json(story)
        return
    found, report = story.candidate, story.report
    print_fields(
        [("candidate", found.id), ("state", found.state), ("verdict", found.verdict), ("image", found.image)]
    )
    print_fields(
        [("commit", found.commit), ("decided", f"{found.decided_by} {found.decided_reason}".strip())]
    )
    consent = story.consent
    names = f": {', '.join(consent.signed)}" if consent.signed else ""
    print_fields([("signatures", f"{consent.sentence}{names}")])
    if consent.rollback_class is not None:
        print_fields([("rollback", f"{consent.rollback_class}: {consent.rollback}")])
    if consent.void:
        print_fields([("signatures", f"void: {consent.void}")])
    if story.judge is not None:
        print_fields([("judge", f"{story.judge.sentence}; {story.judge.worth}")])
    if report is None:
        return
    print_fields(("because", reason) for reason in report.reasons)
    print_fields(
        [
            (
                "e-value",
                f"{report.e_value:.4g} of {report.e_threshold:.4g} needed, {report.held_out_pairs} pairs",
            )
        ]
    )
    print_fields(
        [
            (
                "regression",
                f"at most {report.regression_upper_points:.1f} points lost (95 %), {report.margin_points:g} allowed",
            )
        ]
    )
    for split in report.candidate:
        before, after = report.baseline[split], report.candidate[split]
        print_fields(
            [
                (
                    split,
                    f"{before.passed} of {before.cases} passed before, {after.passed} of {after.cases} after",
                )
            ]
        )
    print_fields((f"{'ok ' if check.ok else 'NOT'} {check.name}", check.reason) for check in report.checks)


@candidate.command()
@click.argument("candidate_id")
@json_option
def diff(candidate_id: str, as_json: bool) -> None:
    """The change, as a unified diff."""
    with open_product() as product:
        found = views.get_diff(product.store, candidate_id)
    if as_json:
        print_json(found)
    else:
        click.echo(for_page(found.diff, cap=1_000_000), nl=False)


@candidate.command()
@click.argument("candidate_id")
@click.option(
    "--patch", type=click.Path(path_type=Path, dir_okay=False), help="Write a mail-format patch; - is stdout."
)
@click.option("--branch", help="Make a branch of this name in the substrate's repository.")
@json_option
def export(candidate_id: str, patch: Path | None, branch: str | None, as_json: bool) -> None:
    """A patch or a branch, for the upstream repository."""
    if (patch is None) == (branch is None):
        raise BadInput("name --patch FILE or --branch NAME")
    with open_product() as product:
        row = _row(product, candidate_id)
        repository = product.settings.substrate_repository
        if branch is not None:
            worktree.create_branch(repository, branch, row.commit)
        else:
            stored = product.store.blobs.get(row.candidate_blob)
            base = Candidate.model_validate_json(stored).base_commit
            text = worktree.export_patch(repository, base, row.commit)
            if str(patch) == "-":
                click.echo(text, nl=False)
                return
            assert patch is not None
            patch.write_text(text, encoding="utf-8")
    print_json(
        {"candidate": candidate_id, "patch": patch and str(patch), "branch": branch}
    ) if as_json else say(f"wrote {patch or branch}")


@candidate.command()
@click.argument("candidate_id")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there, not to stdout.")
@json_option
def provenance(candidate_id: str, out: Path | None, as_json: bool) -> None:
    """The signed in-toto statement of a promotion, as a DSSE envelope: image, commit, builder, trials, approvers."""
    with open_product() as product:
        row = _row(product, candidate_id)
        folder = product.paths.swaps
        if row.swap_id is None or not envelope_path(folder, row.swap_id).exists():
            raise NotFound(f"candidate {candidate_id} is {row.state}: no promotion of it was accepted")
        key = machine_key(product.paths.checkpoint_key).public_key()
        try:
            data, statement = read_envelope(folder, row.swap_id, key)
        except AttestationRefused as error:
            raise Refused(str(error)) from None
    if out is not None:
        out.write_bytes(data)
    if as_json:
        print_json(
            {
                "candidate": candidate_id,
                "swap": row.swap_id,
                "out": out and str(out),
                "public_key": public_text(key),
                "statement": statement,
                "envelope": json.loads(data),
            }
        )
    elif out is None:
        click.echo(data, nl=False)
    else:
        say(f"wrote {out}")


@candidate.command()
@click.argument("candidate_id")
@json_option
def rebuild(candidate_id: str, as_json: bool) -> None:
    """Build the image again from its commit, after it was removed from the engine."""
    with open_product() as product:
        row = _row(product, candidate_id)
        stored = Candidate.model_validate_json(product.store.blobs.get(row.candidate_blob))
        image = product.build(stored.commit, stored.run_id, stored.batch_digest)
    if image.digest != row.image:
        raise Refused(
            f"commit {stored.commit[:12]} gives {image.digest} today, not {row.image}",
            hint="base image, interpreter or dependencies are others than then: start a new run, nothing else may run",
        )
    if as_json:
        print_json({"candidate": candidate_id, "image": image.digest})
    else:
        say(f"image {image.digest} is there")


def _row(product: Product, candidate_id: str) -> CandidateRow:
    with product.store.read() as session:
        return runs.get_candidate(session, candidate_id)
