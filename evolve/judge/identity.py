"""Who a judge is: another model or another prompt is another judge, and has to be calibrated anew."""

from evidence.canonical import digest
from evolve import prompts
from evolve.settings import Settings


def identity(settings: Settings) -> str:
    """By hash, of what its answers depend on; keys and prices are none of it."""
    run = settings.run
    coder = settings.coders.get(run.judge)
    asked = {"kind", "argv", "program", "model", "base_url", "max_turns"}
    return digest(
        {
            "name": run.judge,
            "coder": coder.model_dump(mode="json", include=asked) if coder else None,
            "model": run.model if run.judge in run.coders else "",
            "prompts": [prompts.digest_of(name) for name in ("keypoints", "judge")],
        }
    )
