"""What each state of a swap means, for who watches one."""

STEPS = {
    "REQUESTED": "a person asked for it, with a signature",
    "ACCEPTED": "the signature holds, for these bytes and for what is live",
    "PREFLIGHT": "tried on a copy of the state, away from users",
    "HOLD": "new requests wait",
    "DRAIN": "requests under way are finished",
    "FENCE": "the old instance is stopped, and seen to be gone",
    "CLONE": "the state is copied; the original stays as it is",
    "START": "the new instance starts on the copy",
    "PROBE": "the new instance answers turns of ours",
    "RELEASED": "users' requests go to the new instance",
    "BAKE": "watched under users' requests",
    "COMMITTED": "final",
    "REJECTED": "not begun",
    "CLOSED": "ended before anything changed for users",
    "RB_ASKED": "a person asked to go back",
    "RB_BEGIN": "going back",
    "RB_HOLD": "new requests wait",
    "RB_DRAIN": "requests under way are finished",
    "RB_FENCE": "the instance is stopped, and seen to be gone",
    "RB_CHOOSE": "settled which copy of the state to go back to",
    "RB_START": "what was live before starts",
    "RB_PROBE": "what was live before answers turns of ours",
    "RB_REPLAY": "turns of the inbox that it does not know are given to it again",
    "ROLLED_BACK": "what was live before is live again",
    "QUARANTINED": "no instance is healthy: requests wait, and somebody is needed",
}


def meaning(state: str) -> str:
    """Empty for a state that this version does not know."""
    return STEPS.get(state.upper(), "")
