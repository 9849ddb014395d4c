"""What a model should have said in a turn, and saying it in the model's place while a case is replayed."""

from pydantic import Field

from evidence.cases import Frozen
from trial.gateway import chat


class RightCall(Frozen):
    """A tool call that is due; `tool` is `server/tool`."""

    tool: str
    arguments: dict[str, object] = Field(default_factory=dict)


class RightAnswer(Frozen):
    """The calls one after another, then the words. `text` None: the case does not say which words, so what the tools said
    stands in for them."""

    calls: tuple[RightCall, ...] = ()
    text: str | None = None

    @property
    def steps(self) -> int:
        """How often the model is asked for all of it."""
        return len(self.calls) + 1


def step_of(right: RightAnswer, number: int, request: object) -> dict[str, object] | None:
    """The answer to the turn's model call `number`, from 0, as a chat completion. None: the right answer is over, or its
    tool is not offered."""
    if number >= right.steps:
        return None
    if number == len(right.calls):
        return chat.completion(right.text if right.text is not None else _told(right, request))
    call = right.calls[number]
    offer = chat.offer_of(request, call.tool)
    if offer is None:
        return None
    return chat.completion("", (chat.Ask(f"call_right_{number}", str(offer["name"]), call.arguments),))


def _told(right: RightAnswer, request: object) -> str:
    tools = [m for m in chat.messages(request) or () if m.get("role") == "tool"]
    return "\n".join(chat.text_of(message.get("content")) for message in tools[-len(right.calls) :])
