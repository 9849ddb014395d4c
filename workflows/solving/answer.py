"""The answer of a plan: the text that most drafts write, with results in the places for them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from workflows.solving.chosen import Chain, Chosen, written
from workflows.solving.drafts import Draft
from workflows.solving.fields import fields
from workflows.solving.placeholders import Slot, slots, without_slots
from workflows.types import at_path

DONE = "Done."


class Answer(NamedTuple):
    text: str
    doubts: tuple[str, ...]


def answer(drafts: Sequence[Draft], chain: Chain, request: str, taken: frozenset[str]) -> Answer:
    """`taken`: references that steps take."""
    held = [(number, draft.answer) for number, draft in enumerate(drafts) if draft.answer]
    if not held:
        return Answer(DONE, ())
    forms = Counter(without_slots(text, slots(text)) for _, text in held)
    form = max(forms, key=lambda one: (forms[one], one.count("\0"), one))
    same = [(number, slots(text)) for number, text in held if without_slots(text, slots(text)) == form]
    filled, doubts, parts = list[str](), list[str](), form.split("\0")
    for place in range(len(parts) - 1):
        found = _filled([(number, here[place]) for number, here in same], filled, chain, request, taken)
        if not found:
            doubts.append("answer: a place for which nothing was found")
        filled.append(found)
    text = "".join(part + slot for part, slot in zip(parts, [*filled, ""], strict=True))
    return Answer(text, tuple(doubts))


def _filled(
    held: Sequence[tuple[int, Slot]], told: Sequence[str], chain: Chain, request: str, taken: frozenset[str]
) -> str:
    """Empty: nothing was found."""
    votes = Counter(found for number, slot in held if (found := _referred(slot, number, chain)) is not None)
    if votes:
        return max(votes, key=lambda one: (votes[one], one))
    for _, slot in held:
        free = [way for way in _leading(slot, chain, request, taken) if way not in told]
        if free:
            return free[0]
    return ""


def _referred(slot: Slot, number: int, chain: Chain) -> str | None:
    step = chain.named(slot.source, number)
    leads = step is not None and chain.leads(step, slot.path)
    return written(step, slot.path) if step is not None and leads else None


def _leading(slot: Slot, chain: Chain, request: str, taken: frozenset[str]) -> Sequence[str]:
    """Results that have such a field: first one that a step takes, too, then those of steps whose results no step takes,
    then the others, each in their order. A whole result: the last lookup's, else the last one's."""
    steps = [step for step in chain.steps if step.spec is not None]
    if not slot.path:
        looked = [step for step in steps if not step.changes]
        return [written(step, ()) for step in (*reversed(looked), *reversed(steps))]

    def read(step: Chosen) -> bool:
        return any(way.startswith((written(step, ())[:-1] + ".", written(step, ()))) for way in taken)

    steps.sort(key=lambda step: (written(step, slot.path) not in taken, read(step)))
    known = [(step, chain.given(step)) for step in steps]
    exact = [written(step, slot.path) for step, given in known if given and at_path(given, slot.path)]
    near = [
        written(step, found[0].path)
        for step, given in known
        if given and (found := fields(given, {}, request, slot.path)) and found[0].score >= 1
    ]
    blind = [written(step, slot.path) for step, given in known if not given]
    return [*exact, *near, *blind[::-1]]
