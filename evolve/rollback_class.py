"""What becomes of users' writes when a promotion is rolled back after its release."""

from containers.substrate import StateSchema
from promote.approval import RollbackClass


def declared_class(before: StateSchema, after: StateSchema) -> RollbackClass:
    """What the images say of themselves; before a swap the promoter lets the old one open what the new one wrote."""
    if before == after:
        return "same"
    return "forward_compatible" if after.writes in before.reads else "lossy"


def in_words(rollback_class: RollbackClass, replays_inbox: bool) -> str:
    if rollback_class != "lossy":
        return "a rollback keeps what users wrote since the release"
    if replays_inbox:
        return "a rollback may lose what users wrote since the release, but for turns of the inbox: they are answered anew"
    return "a rollback may lose everything that users wrote since the release"
