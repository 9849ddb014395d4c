"""One turn as a client asks it: plain, or as a stream that is read event by event."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

PATH = "/v1/chat/completions"
Reply = tuple[int, dict[str, object]]


def turn(
    link: http.client.HTTPConnection, text: str, session: str, request_id: str, stream: bool = False
) -> Reply:
    """Asked once: a stream that is cut raises."""
    if stream:
        return Stream(text, session, request_id).read(link)
    answer = ask(link, text, session, request_id)
    return answer.status, dict(json.loads(answer.read()))


def ask(
    link: http.client.HTTPConnection, text: str, session: str, request_id: str, **more: str
) -> http.client.HTTPResponse:
    """`more`: further headers, `_` for `-`; with `accept` among them a stream is asked for."""
    body = json.dumps({"messages": [{"role": "user", "content": text}], "stream": "accept" in more})
    headers = {"content-type": "application/json", "x-session": session, "x-request-id": request_id}
    link.request(
        "POST", PATH, body, headers | {name.replace("_", "-"): value for name, value in more.items()}
    )
    return link.getresponse()


@dataclass
class Stream:
    """A streamed turn, over as many connections as it takes: each goes on behind the last event that came."""

    text: str
    session: str
    request_id: str
    got: list[str] = field(default_factory=list)
    """The data of the events so far. What comes twice, or leaves one out, is an AssertionError."""

    begun: int = 0
    """On so many connections a reply began."""

    @property
    def ended(self) -> bool:
        return self.got[-1:] == ["[DONE]"]

    def read(self, link: http.client.HTTPConnection) -> Reply:
        """To the end. Raises HTTPException or OSError when the stream is cut: then it can be read on."""
        answer = self.begin(link)
        if answer.status != 200:
            return answer.status, dict(json.loads(answer.read()))
        for _ in self.events(answer):
            pass
        assert self.ended, "a stream ended clean without its last event"
        return 200, self.reply()

    def begin(self, link: http.client.HTTPConnection) -> http.client.HTTPResponse:
        behind = {"last_event_id": str(len(self.got))} if self.got else {}
        return ask(link, self.text, self.session, self.request_id, accept="text/event-stream", **behind)

    def events(self, answer: http.client.HTTPResponse) -> Iterator[str]:
        self.begun += 1
        rest = b""
        while piece := answer.read1(1 << 16):
            *whole, rest = (rest + piece).split(b"\n\n")
            for event in whole:
                ident, _, data = event.decode().partition("\n")
                assert ident == f"id: {len(self.got) + 1}", f"{ident} came behind event {len(self.got)}"
                self.got.append(data.removeprefix("data: "))
                yield self.got[-1]
        assert not rest, "a stream ended clean within an event"

    def reply(self) -> dict[str, object]:
        """As it would have come without a stream."""
        chunks = [json.loads(data) for data in self.got[:-1]]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        return chunks[0] | {"choices": [{"message": {"role": "assistant", "content": text}}]}


def text_of(reply: dict[str, object]) -> str:
    """What was answered; nothing where a failure was."""
    choices = reply.get("choices")
    return str(choices[0]["message"]["content"]) if isinstance(choices, list) else ""
