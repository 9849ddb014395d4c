"""The ingress as a process, and its callers."""

import http.client
import json
import os
import socket
import subprocess
import sys

from promote_rig import ROOT, Rig, until

Answer = tuple[int, dict[str, object]]


class Ingress:
    """The process, and its callers."""

    def __init__(self, rig: Rig, **options: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.rig = rig
        self.config = rig.home / "ingress.json"
        told = {
            "host": "127.0.0.1",
            "port": self.port,
            "database": str(rig.inbox_file),
            "edge": rig.edge_kind,
            "edge_control": str(rig.home / "run" / "edge.sock"),
            "edge_state": str(rig.edge_state),
            "turn_path": "/v1/chat/completions",
            "request_id_header": "x-request-id",
            **options,
        }
        self.config.write_text(json.dumps(told))
        self.start()

    def start(self) -> None:
        with (self.rig.home / "ingress.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "promote.ingress", "--config", str(self.config)],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        until(lambda: self.ask("GET", "/healthz")[0] == 200, 60.0)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            link.request(method, path, data, {name.replace("_", "-"): text for name, text in headers.items()})
            reply = link.getresponse()
            return reply.status, json.loads(reply.read())
        except http.client.HTTPException as error:  # killed within its answer
            raise ConnectionError(str(error)) from None
        finally:
            link.close()

    def hand_in(self, ident: str, session: str, text: str = "") -> Answer:
        turn = {"messages": [{"role": "user", "content": text or f"echo {ident}"}]}
        return self.ask("POST", "/v1/inbox", turn, x_request_id=ident, x_session=session)

    def outcome(self, ident: str) -> dict[str, object]:
        return self.ask("GET", f"/v1/inbox/{ident}?wait=30")[1]


def applied(rig: Rig, session: str) -> list[str]:
    """The ids that took effect, in order, as the service tells them."""
    link = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=40)
    try:
        link.request("GET", f"/v1/sessions/{session}")
        return list(json.loads(link.getresponse().read())["applied"])
    finally:
        link.close()
