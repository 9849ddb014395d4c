"""The ingress as a process (`python -m promote.ingress --config FILE`): accepts turns while nobody can answer them.

`POST /v1/inbox` takes a turn as the service would and answers 202 with its id once it is on the disk; `GET /v1/inbox/ID`
says what became of it, `?wait=SECONDS` waits for that. Turns go to the service through the edge, as any request does, each
under its own id until it is answered: delivery is at least once, and the service makes one effect of it.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from evidence.canonical import new_id
from promote.edges import edge_at
from promote.inbox import GIVEN_UP, Conflict, Full, Inbox, Kept
from promote.settings import IngressConfig
from promote.wire import Unreachable, complaint

PATH = "/v1/inbox"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_FAILURES = 5
"""So often a turn that the service itself fails is asked for again; then the failure is its answer."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_IDLE = 0.5
_LONGEST_WAIT = 30.0
_POLL = 0.05
_FORGET_EVERY = 600.0


class Ingress:
    """The HTTP side and the delivery, over one inbox."""

    def __init__(self, config: IngressConfig, inbox: Inbox, find_edge: Callable[[], str]) -> None:
        """`find_edge`: the edge's URL now; raises Unreachable."""
        self._config, self._inbox, self._find_edge = config, inbox, find_edge
        self._busy: set[str] = set()
        self._news = asyncio.Event()
        self._deliveries: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        routes = [
            Route(PATH, self.accept, methods=["POST"]),
            Route(PATH + "/{id}", self.show, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    async def accept(self, request: Request) -> Response:
        config = self._config
        body = await _read(request, config.body_bytes)
        if body is None:
            return _error(413, f"the body is larger than {config.body_bytes} bytes")
        try:
            if not isinstance(json.loads(body), dict):
                return _error(400, "the body is not a JSON object")
        except (ValueError, RecursionError):
            return _error(400, "the body is not JSON")
        ident = request.headers.get(config.request_id_header) or new_id()
        # Without a name of its own a turn is a session of its own, as at the service.
        session = request.headers.get(config.session_header) or (
            "s-" + hashlib.sha256(ident.encode()).hexdigest()[:24]
        )
        if not _ID.fullmatch(ident) or not _ID.fullmatch(session):
            return _error(400, f"{config.request_id_header} and {config.session_header}: not an id")
        try:
            await asyncio.to_thread(self._inbox.put, ident, session, body)
        except Conflict as error:
            return _error(409, str(error))
        except Full as error:
            return _error(503, str(error))
        self._news.set()
        place = f"{PATH}/{ident}"
        return JSONResponse({"id": ident, "status_url": place}, 202, headers={"Location": place})

    async def show(self, request: Request) -> Response:
        try:
            patience = min(_LONGEST_WAIT, max(0.0, float(request.query_params.get("wait", "0"))))
        except ValueError:
            return _error(400, "wait: not a number of seconds")
        end = time.monotonic() + patience
        while True:
            kept = await asyncio.to_thread(self._inbox.get, request.path_params["id"])
            if kept is None:
                return _error(404, "no turn of this id")
            if kept.status is not None or time.monotonic() >= end:
                return JSONResponse(_told(kept))
            await asyncio.sleep(_POLL)

    async def health(self, _: Request) -> Response:
        return JSONResponse({"ok": True, "waiting": await asyncio.to_thread(self._inbox.waiting)})

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._dispatch()), asyncio.create_task(self._forget())]
        try:
            yield
        finally:
            for task in (*tasks, *self._deliveries):
                task.cancel()
            await asyncio.gather(*tasks, *self._deliveries, return_exceptions=True)

    async def _dispatch(self) -> None:
        async with httpx2.AsyncClient(timeout=90.0, trust_env=False) as client:
            while True:
                self._news.clear()
                kept = None
                if len(self._busy) < self._config.at_once:
                    kept = await asyncio.to_thread(self._inbox.next, tuple(self._busy))
                if kept is None:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), _IDLE)
                    continue
                self._busy.add(kept.session)
                task = asyncio.create_task(self._deliver(client, kept.session))
                self._deliveries.add(task)
                task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, client: httpx2.AsyncClient, session: str) -> None:
        """Until the session's oldest turn has an answer; the next one waits for it. Looked up before each try, for a
        rollback may have put earlier ones back."""
        pause, failures, asked = _FIRST_PAUSE, 0, ""
        try:
            while (kept := await asyncio.to_thread(self._inbox.first, session)) is not None:
                if kept.id != asked:
                    asked, failures = kept.id, 0
                answer = await self._ask(client, kept)
                failures += answer is not None and answer.status_code != 503
                if answer is not None and (answer.status_code < 500 or failures >= _FAILURES):
                    # Whoever is refused here waits again, and dispatch comes by.
                    await asyncio.to_thread(self._inbox.finish, kept, answer.status_code, answer.content)
                    return
                await asyncio.to_thread(self._inbox.tried, kept.id)
                if time.time() > kept.received + self._config.give_up_seconds:
                    await asyncio.to_thread(self._inbox.finish, kept, GIVEN_UP, b"")
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._busy.discard(session)
            self._news.set()

    async def _ask(self, client: httpx2.AsyncClient, kept: Kept) -> httpx2.Response | None:
        """None: nobody answered."""
        headers = {
            "content-type": "application/json",
            "prefer": "wait=0",  # it waits here: at the edge it could not be called back
            self._config.request_id_header: kept.id,
            self._config.session_header: kept.session,
        }
        try:
            url = await asyncio.to_thread(self._find_edge) + self._config.turn_path
            return await client.post(url, content=kept.body, headers=headers)
        except (httpx2.HTTPError, Unreachable):
            return None

    async def _forget(self) -> None:
        while True:
            await asyncio.to_thread(self._inbox.forget, self._config.keep_seconds)
            await asyncio.sleep(_FORGET_EVERY)


async def _read(request: Request, most: int) -> bytes | None:
    """None: more than `most` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def _told(kept: Kept) -> dict[str, object]:
    told: dict[str, object] = {"id": kept.id, "session": kept.session, "attempts": kept.attempts}
    if kept.status is None:
        return {**told, "state": "waiting"}
    if kept.status == GIVEN_UP:
        return {**told, "state": "given_up"}
    try:
        reply: object = json.loads(kept.reply or b"")
    except (ValueError, RecursionError):
        reply = (kept.reply or b"").decode("utf-8", "replace")  # a stream's frames, for one
    return {**told, "state": "answered", "status": kept.status, "reply": reply}


def _error(status: int, why: str) -> Response:
    headers = {"Retry-After": "1"} if status == 503 else {}
    return JSONResponse({"error": {"message": why, "type": "ingress"}}, status, headers=headers)


def serve(config: IngressConfig) -> None:
    """Until SIGTERM. Raises OSError and sqlite3.Error."""
    edge = edge_at(config.edge, config.edge_control, config.edge_state)
    inbox = Inbox(config.database, config.most)
    try:
        uvicorn.run(
            Ingress(config, inbox, lambda: edge.status().url).app(),
            host=config.host,
            port=config.port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    finally:
        inbox.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="promote.ingress", description="accepts turns durably")
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args().config
    try:
        serve(IngressConfig.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        print(f"{path}: {complaint(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"ingress: {complaint(error)}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
