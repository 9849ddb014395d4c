"""Nine structural defects that the demo does not have: can `evolve-mend` repair them, and what does the gate say?

Three of each of the demo's kinds, planted elsewhere in the harness and in other shapes. They were written before any
repair run, by somebody who did not know how the tool works, and none was changed after its result was known.

    python -m benchmarks.mend_variants [NAME ...] [--json] [--seed N] [--coder mend|undo] [--check]
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Variant:
    """One planted defect, as a patch against the bundled harness."""

    name: str
    place: str
    wrong: str
    seen: str
    """How a user, or whoever reads the gateway's record of calls, sees it."""

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]

    @property
    def patch(self) -> Path:
        return FOLDER / f"{self.name}.patch"


VARIANTS = (
    Variant(
        "arrival-1",
        "workflows/engine.py, _Run.result",
        "the steps of a layer put their records into a queue, which is read out in the order of the steps",
        "the shipped workflow `world_clock` tells the time of one zone for the other",
    ),
    Variant(
        "arrival-2",
        "harness/dispatch.py, run and _call_all; harness/agent.py, _converse",
        "dispatch hands results on as they came; the conversation gives them call ids by position",
        "a question about several items is answered with each other's counts",
    ),
    Variant(
        "arrival-3",
        "harness/mcp.py, _exchange",
        "the client gives every answer to the request that has waited longest, also to another turn's",
        "counts of other items; under load also prices, times and orders of other users",
    ),
    Variant(
        "leak-1",
        "harness/guards.py, Guards.tell_settings",
        "the text that tells the model the settings is kept on the instance by the settings' names alone",
        "prices in the currency of the first session that named one",
    ),
    Variant(
        "leak-2",
        "harness/agent.py, new_messages",
        "which instructions were passed on is remembered in the module, for all sessions together",
        "only the first session that sends an instruction has it followed: letters are not signed",
    ),
    Variant(
        "leak-3",
        "harness/agent.py, _turn",
        "the contexts of turns are used again, and their notes are overwritten only by a session that has some",
        "who noted nothing is told what others noted",
    ),
    Variant(
        "late-1",
        "harness/guards.py, shipped_hooks",
        "the tool policy looks at arguments before they are converted",
        "an order above the limit reaches the shop when the model writes its quantity as text",
    ),
    Variant(
        "late-2",
        "harness/agent.py, _converse and _ask_model",
        "what the model says is redacted after the conversation has kept it",
        "the gateway's record shows that later model calls of the session carry what the policy removes",
    ),
    Variant(
        "late-3",
        "harness/agent.py, _answer",
        "a turn is routed, and commands are answered, before the hooks that read its settings",
        "`/settings` does not show what the same request sets",
    ),
)
