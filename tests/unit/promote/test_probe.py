"""The probe against services that answer well and are not what they should be."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from containers.substrate import load_manifest
from promote.probe import ProbeFailed, probe
from promote.records import Live
from promote.settings import Timing

MANIFEST = load_manifest(Path(__file__).resolve().parents[3] / "harness" / "tiny")
LIVE = Live(digest="sha256:new", generation=2, epoch=7, boot_nonce="n7")
TIMING = Timing(boot_seconds=2.0, turn_seconds=2.0, probe_interval=0.0, probe_window=10.0)


class Echo:
    """Answers canaries well."""

    def __init__(self) -> None:
        self.said = {"digest": LIVE.digest, "epoch": LIVE.epoch, "boot_nonce": LIVE.boot_nonce}
        self.remembered = ""

    def reply(self, text: str) -> str:
        word, _, rest = text.partition(" ")
        if word == "remember":
            self.remembered = rest
            return f"remembered {rest}"
        return self.remembered if word == "recall" else rest


class Parrot(Echo):
    """Has heard one round of canaries once and says it again for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, str] = {}

    def reply(self, text: str) -> str:
        return self.heard.setdefault(text.split(" ")[0], super().reply(text))


@contextmanager
def serving(service: Echo, folder: Path) -> Iterator[Path]:
    """The service on a unix socket, with the heartbeat of this very start beside it."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

        def answer(self, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer(service.said)

        def do_DELETE(self) -> None:
            self.answer({})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            text = service.reply(asked["messages"][0]["content"])
            self.answer({"choices": [{"message": {"content": text}}]})

    class Server(ThreadingMixIn, UnixStreamServer):
        pass

    stop, begun = threading.Event(), threading.Event()

    def beat() -> None:
        mark = {
            "digest": LIVE.digest,
            "epoch": LIVE.epoch,
            "boot_nonce": LIVE.boot_nonce,
            "child_alive": True,
        }
        while True:
            (folder / "new").write_text(json.dumps({**mark, "ts": time.time()}))
            (folder / "new").replace(folder / "heartbeat.json")
            begun.set()
            if stop.wait(0.01):
                return

    path = folder / "agent.sock"
    with Server(str(path), Handler) as server:
        threads = [threading.Thread(target=beat), threading.Thread(target=server.serve_forever, args=(0.05,))]
        for thread in threads:
            thread.start()
        try:
            assert begun.wait(10)
            yield path
        finally:
            stop.set()
            server.shutdown()
            for thread in threads:
                thread.join()


def probed(service: Echo, folder: Path, running: Callable[[], bool] = lambda: True) -> int:
    with serving(service, folder) as path:
        return probe(path, MANIFEST, LIVE, TIMING, running)


def test_three_rounds_of_all_canaries_pass(tmp_path: Path) -> None:
    assert probed(Echo(), tmp_path) == 3 * len(MANIFEST.canaries)


@pytest.mark.parametrize("other", [{"digest": "sha256:old"}, {"epoch": 6}, {"boot_nonce": "n6"}])
def test_another_instance_that_answers_well_is_not_this_one(
    tmp_path: Path, other: dict[str, str | int]
) -> None:
    service = Echo()
    service.said.update(other)
    with pytest.raises(ProbeFailed, match=f"readiness says {next(iter(other))}"):
        probed(service, tmp_path)


def test_answers_that_were_right_once_are_not_right_again(tmp_path: Path) -> None:
    with pytest.raises(ProbeFailed, match="lacks"):
        probed(Parrot(), tmp_path)
