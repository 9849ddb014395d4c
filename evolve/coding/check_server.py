"""The other end of `evolve-check`: replays the visible cases on a coder's worktree, outside the coder's sandbox.

Only visible cases can be asked for: this module is handed nothing else. What is replayed is a snapshot of the worktree,
or of a copy of it that the coder describes by its differences, so that several can be looked at at once. Every replay is
booked on the run's budget; when that is spent, or the run is asked to stop, the coder gets an error and the stage ends.
"""

import base64
import contextlib
import json
import socketserver
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from containers.runtime import RuntimeBroken
from evidence.cases import VisibleCase
from evolve import worktree
from evolve.budget import OutOfBudget
from evolve.coding.snapshot import Files, Layout, Unusable, digest_of, read_tree, with_changes
from evolve.context import RunContext
from evolve.errors import BadInput
from evolve.runs import Stopped
from evolve.sanitize import for_terminal
from promote.wire import address
from trial.plan import Job
from trial.replay import ReplayLimits

MAX_REQUEST = 16 << 20
REASON_CHARS = 300
LIMITS = ReplayLimits(ready_seconds=4.0, turn_seconds=2.0, case_seconds=12.0)
"""Tight: an edit that makes the service hang is wrong, and the next one waits for its turn."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = False
    block_on_close = True


class CheckServer:
    """Listens on `folder`/check.sock while the coder runs; replays on as many snapshots at once as the run has workers."""

    def __init__(self, context: RunContext, tree: Path, folder: Path, avoid: Sequence[str] = ()) -> None:
        """`avoid`: hashes of diffs that the gate refused in this run already."""
        self.context, self.tree, self.folder, self.avoid = context, tree, folder, avoid
        self.ended: OutOfBudget | Stopped | None = None
        self._cases: tuple[VisibleCase, ...] = context.batch.visible
        self._memo = Memo(context.folder / "checked.jsonl")
        self._lock = threading.Lock()
        self._layouts: SimpleQueue[Layout] = SimpleQueue()
        for number in range(context.settings.run.workers):
            shown = folder.with_name(f"{folder.name}-trees") / str(number)
            context.runtime.export(context.baseline, shown, bytecode=True)
            self._layouts.put(Layout(shown))
        folder.mkdir(parents=True, exist_ok=True)
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline(MAX_REQUEST)
                answer = outer.answer(line)
                with contextlib.suppress(BrokenPipeError):  # a coder may have lost its patience
                    self.wfile.write(json.dumps(answer).encode() + b"\n")

        with address(folder / "check.sock") as name:
            self._server = _Server(name, Handler)
        (folder / "check.sock").chmod(0o666)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="evolve-check")

    def __enter__(self) -> "CheckServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def raise_if_ended(self) -> None:
        """The stage must not go on as if the coder had simply failed."""
        if self.ended is not None:
            raise self.ended

    def answer(self, line: bytes) -> dict[str, object]:
        """The reply to one request line; a coder's nonsense is answered, never raised."""
        try:
            request = json.loads(line)
            wanted = {str(name) for name in request.get("cases", [])}
            fail_fast, listing = bool(request.get("fail_fast")), bool(request.get("list"))
            changes = _changes(request.get("changes") or {})
        except (ValueError, AttributeError, TypeError, RecursionError):
            return {"error": "not a request"}
        cases = [case for case in self._cases if not wanted or case.id in wanted]
        if not cases:
            return {"error": "no such visible case; `evolve-check --list` names them"}
        if listing:
            return {"results": [{"case": c.id, "outcome": "known", "reason": _signal(c)} for c in cases]}
        if self.ended is not None:
            return {"error": "the run has ended"}
        layout = self._layouts.get()
        try:
            files = with_changes(read_tree(self.tree), changes)
            layout.show(files)
            return {"results": self._replay(cases, fail_fast, files, layout.folder)}
        except (OutOfBudget, Stopped) as ended:
            self.ended = ended
            return {"error": f"the run has ended: {ended}"}
        except (RuntimeBroken, Unusable, BadInput) as error:
            return {"error": f"the replay broke: {error}"}
        finally:
            self._layouts.put(layout)

    def _replay(
        self, cases: Sequence[VisibleCase], fail_fast: bool, files: Files, tree: Path
    ) -> list[dict[str, str]]:
        context = self.context
        key = digest_of(files)
        if known := self._memo.get(key, {case.id for case in cases}):
            return [known]
        # The digest only names the dependency layer here: the worktree is shown in place of the image's tree.
        jobs = [Job(case, "candidate", context.batch.baseline_digest, context.seed) for case in cases]
        results = []
        for block in [jobs[:1], jobs[1:]] if fail_fast else [jobs]:
            for trial in context.arena.run(block, context.graders.grade, tree=tree, limits=LIMITS):
                reason = for_terminal(trial.reason)[:REASON_CHARS]
                results.append({"case": trial.case_id, "outcome": trial.outcome, "reason": reason})
                with self._lock:
                    context.spend_trials(1)
                    if trial.outcome == "fail":
                        self._memo.put(key, results[-1])
                        self._try_first_next_time(trial.case_id)
                if trial.outcome == "fail" and fail_fast:
                    return results
        if self.avoid and all(result["outcome"] == "pass" for result in results) and self._is_known(tree):
            results[0] = {**results[0], "outcome": "fail", "reason": "the gate refused this change before"}
        return results

    def _is_known(self, tree: Path) -> bool:
        repository = self.context.settings.substrate_repository
        base = self.context.batch.baseline_commit
        commit = worktree.commit_directory(repository, tree, base, "check")
        return worktree.diff_sha256(repository, base, commit) in self.avoid

    def _try_first_next_time(self, case_id: str) -> None:
        """What failed last fails soonest again: a wrong edit is then refused by its first replay."""
        self._cases = tuple(sorted(self._cases, key=lambda case: case.id != case_id))


class Memo:
    """What failed before in this run, by tree: a later pass does not pay again for an edit that was tried."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        pairs = (json.loads(line) for line in lines if line.endswith("]"))
        self._known: dict[str, dict[str, str]] = dict(pairs)

    def get(self, tree: str, cases: set[str]) -> dict[str, str] | None:
        """A failure of one of these cases on exactly this tree."""
        found = self._known.get(tree)
        return found if found is not None and found["case"] in cases else None

    def put(self, tree: str, result: dict[str, str]) -> None:
        self._known[tree] = result
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([tree, result]) + "\n")


def _signal(case: VisibleCase) -> str:
    return for_terminal("; ".join(signal.reason for signal in case.signals))[:REASON_CHARS]


def _changes(told: dict[str, Any]) -> dict[str, bytes | None]:
    """How a copy of the worktree differs from it: path -> content in base64, or None where it has no such file."""
    for name in told:
        name.encode()  # a lone surrogate is a ValueError
    return {
        name: None if text is None else base64.b64decode(text, validate=True) for name, text in told.items()
    }
