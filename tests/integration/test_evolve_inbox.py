"""The whole product with its inbox open, behind either edge."""

import http.client
import json
import socket
from pathlib import Path

import pytest
from evolve_world import make_world, running
from promote_rig import require_haproxy


@pytest.mark.parametrize("kind", ["embedded", "haproxy"])
def test_a_turn_that_was_handed_in_is_answered_through_the_edge(tmp_path: Path, kind: str) -> None:
    if kind == "haproxy":
        require_haproxy()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    world = make_world(tmp_path / "home")
    toml = world.home / "evolve.toml"
    sections = f"\n[inbox]\nport = {port}\n\n[edge]\nkind = '{kind}'\nport = 0\n"
    toml.write_text(toml.read_text().replace("\n[edge]\nport = 0\n", sections))
    with running(world):
        assert world.ok("agent", "status")["inbox"] == f"http://127.0.0.1:{port}"
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
        turn = {"messages": [{"role": "user", "content": "upper hello"}]}
        link.request("POST", "/v1/inbox", json.dumps(turn), {"x-request-id": "r1", "x-session": "s"})
        reply = link.getresponse()
        assert (reply.status, json.loads(reply.read())["id"]) == (202, "r1")
        link.request("GET", "/v1/inbox/r1?wait=30")
        told = json.loads(link.getresponse().read())
        link.close()
    assert (told["state"], told["status"]) == ("answered", 200)
    assert told["reply"]["choices"][0]["message"]["content"] == "HELLO"
