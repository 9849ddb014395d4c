"""The promoter's unix socket: one line of JSON in, one out, a thread for each who asks."""

import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from evidence.ledger import LedgerBroken
from promote.accept import Rejected
from promote.parts import STEP_FAILED
from promote.wire import MAX_LINE, Unreachable, address, complaint, encode

_LAST_ANSWERS = 60.0


class serve_api:
    """The unix socket and its threads, for as long as the block lasts; who was being answered gets the answer."""

    def __init__(self, path: Path, answer: Callable[[dict[str, object]], Mapping[str, object]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)

        self._idle = idle = threading.Condition()
        self._busy = busy = set[int]()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline(MAX_LINE):
                    with idle:
                        busy.add(id(self))
                    try:
                        self.wfile.write(encode(_reply(line, answer)))
                    finally:
                        with idle:
                            busy.discard(id(self))
                            idle.notify_all()

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True
            request_queue_size = 64

        with address(path) as name:
            self._server = Server(name, Handler)
        path.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        with self._idle:
            self._idle.wait_for(lambda: not self._busy, _LAST_ANSWERS)
        self._server.server_close()


def _reply(line: bytes, answer: Callable[[dict[str, object]], Mapping[str, object]]) -> Mapping[str, object]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("not an object")
        return answer(request)
    except Rejected as error:
        return {"error": str(error), "kind": "rejected"}
    except ValidationError as error:
        return {"error": complaint(error), "kind": "usage"}
    except KeyError as error:
        return {"error": f"missing: {error}", "kind": "usage"}
    except ValueError as error:
        return {"error": str(error), "kind": "usage"}
    except (LedgerBroken, *STEP_FAILED, Unreachable) as error:
        return {"error": f"{type(error).__name__}: {error}", "kind": "environment"}
