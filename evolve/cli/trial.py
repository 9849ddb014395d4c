"""`evolve trial`."""

import click
from pydantic import TypeAdapter

from evidence.cases import SealedBatch
from evolve import runs
from evolve.arenas import open_arena
from evolve.candidate import Candidate
from evolve.cli.context import open_product
from evolve.cli.output import Group, json_option, print_json, print_table
from evolve.errors import NotFound
from evolve.product import Product
from trial.plan import Job, TrialCase
from trial.report import Trial


class TrialGroup(Group):
    default = None


@click.group(cls=TrialGroup)
def trial() -> None:
    """Replays of cases against a candidate and its baseline."""


@trial.command()
@click.argument("candidate_id")
@click.option("--failed", is_flag=True, help="Only what did not pass on the candidate.")
@json_option
def show(candidate_id: str, failed: bool, as_json: bool) -> None:
    """Every replay that the candidate's verdict rests on."""
    with open_product() as product:
        found = stored_trials(product, candidate_id)
    if failed:
        found = [t for t in found if t.arm == "candidate" and t.outcome != "pass"]
    if as_json:
        print_json(found)
        return
    rows = [(t.case_id, t.split, t.arm, t.outcome, f"{t.latency * 1000:.0f} ms", t.reason) for t in found]
    print_table(("case", "split", "arm", "outcome", "latency", "reason"), rows, "no trials")


@trial.command()
@click.argument("candidate_id")
@click.argument("case_id")
@json_option
def rerun(candidate_id: str, case_id: str, as_json: bool) -> None:
    """Replay one case again on baseline and candidate. For looking: it changes no verdict."""
    with open_product() as product:
        with product.store.read() as session:
            row = runs.get_candidate(session, candidate_id)
        blobs = product.store.blobs
        candidate = Candidate.model_validate_json(blobs.get(row.candidate_blob))
        batch = SealedBatch.model_validate_json(blobs.get(candidate.batch_digest))
        every: list[TrialCase] = [*batch.visible, *batch.held_out, *batch.regression]
        cases = [case for case in every if case.id == case_id]
        if not cases:
            raise NotFound(
                f"no case {case_id} in batch {batch.id}",
                hint=f"`evolve trial show {candidate_id}` names them",
            )
        jobs = [
            Job(cases[0], "baseline", candidate.base_image, 0),
            Job(cases[0], "candidate", candidate.image, 0),
        ]
        with open_arena(product, product.manifest) as arena:
            found = list(arena.run(jobs, product.graders.grade))
    if as_json:
        print_json(found)
        return
    print_table(("arm", "outcome", "reason"), [(t.arm, t.outcome, t.reason) for t in found], "")


def stored_trials(product: Product, candidate_id: str) -> list[Trial]:
    """Raises NotFound when the candidate was never tried."""
    with product.store.read() as session:
        row = runs.get_candidate(session, candidate_id)
    if row.trials_blob is None:
        raise NotFound(f"candidate {candidate_id} has no trials")
    return TypeAdapter(list[Trial]).validate_json(product.store.blobs.get(row.trials_blob))
