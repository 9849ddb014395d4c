"""A stream of either bundled substrate goes on behind the last event that its client has."""

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx2
import pytest
from harness_service import ROOT, Service, service

WORDS = "one two three four five " * 8


@pytest.fixture(params=["tiny", "harness"])
def substrate(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def agent(tmp_path: Path, substrate: str) -> Iterator[Service]:
    with start(tmp_path, substrate) as running:
        running.says(command(substrate, f"remember {WORDS}"))
        yield running


def start(folder: Path, substrate: str) -> AbstractContextManager[Service]:
    tiny = substrate == "tiny"
    return service(folder, "service" if tiny else "harness", ROOT / "harness" / "tiny" if tiny else ROOT)


def command(substrate: str, text: str) -> str:
    return text if substrate == "tiny" else f"/{text}"


def recall(agent: Service, substrate: str, ident: str = "st", last: str = "") -> httpx2.Response:
    headers = {b"x-request-id": ident.encode(), b"x-session": b"s1", b"last-event-id": last.encode()}
    said = [{"role": "user", "content": command(substrate, "recall")}]
    body = {"messages": said, "stream": True}
    return agent.http.post("/v1/chat/completions", json=body, headers=headers)


def test_events_are_numbered_and_a_client_that_comes_again_gets_those_that_it_lacks(
    agent: Service, substrate: str, tmp_path: Path
) -> None:
    first = recall(agent, substrate)
    assert first.headers["transfer-encoding"] == "chunked", "the end of a stream that was cut must be missing"
    events = first.text.split("\n\n")[:-1]
    assert len(events) > 5
    assert [event.split("\n")[0] for event in events] == [f"id: {n}" for n in range(1, len(events) + 1)]
    for passed in (0, 1, len(events) - 1, len(events), len(events) + 5):
        assert recall(agent, substrate, last=str(passed)).text.split("\n\n")[:-1] == events[passed:]
    agent.process.send_signal(signal.SIGKILL)
    agent.process.wait()
    with start(tmp_path, substrate) as again:
        assert recall(again, substrate, last="3").text.split("\n\n")[:-1] == events[3:]


def test_a_stream_of_which_nothing_is_known_is_refused_and_nothing_is_done(
    agent: Service, substrate: str
) -> None:
    """Its state was given up, or the id is another's: the rest of another answer must not be glued to what it has."""
    assert recall(agent, substrate, "unknown", last="2").status_code == 409
    for nonsense in ("two", "-1", "1.5", "٣", "9" * 50):
        assert recall(agent, substrate, last=nonsense).status_code == 400
    whole = recall(agent, substrate, "unknown")
    assert (whole.status_code, whole.text.startswith("id: 1\n")) == (200, True)
