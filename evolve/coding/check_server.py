"""The other end of `evolve-check`: replays the visible cases on a coder's worktree, outside the coder's sandbox.

Only visible cases can be asked for: this module is handed nothing else. Every replay is booked on the run's budget; when
that is spent, or the run is asked to stop, the coder gets an error and the stage ends.
"""

import contextlib
import json
import socketserver
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from containers.runtime import RuntimeBroken
from evidence.cases import VisibleCase
from evolve import worktree
from evolve.budget import OutOfBudget
from evolve.coding.command import tree_digest
from evolve.context import RunContext
from evolve.runs import Stopped
from evolve.sanitize import for_terminal
from promote.wire import address
from trial.plan import Job
from trial.replay import ReplayLimits

MAX_REQUEST = 64 * 1024
REASON_CHARS = 300
LIMITS = ReplayLimits(ready_seconds=4.0, turn_seconds=2.0, case_seconds=12.0)
"""Tight: an edit that makes the service hang is wrong, and the next one waits for its turn."""


class CheckServer:
    """Listens on `folder`/check.sock while the coder runs; one request at a time."""

    def __init__(self, context: RunContext, tree: Path, folder: Path, avoid: Sequence[str] = ()) -> None:
        """`avoid`: hashes of diffs that the gate refused in this run already."""
        self.context, self.tree, self.folder, self.avoid = context, tree, folder, avoid
        self.ended: OutOfBudget | Stopped | None = None
        self._cases = list(context.batch.visible)
        self._memo = Memo(context.folder / "checked.jsonl")
        folder.mkdir(parents=True, exist_ok=True)
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline(MAX_REQUEST)
                answer = outer.answer(line)
                with contextlib.suppress(BrokenPipeError):  # a coder may have lost its patience
                    self.wfile.write(json.dumps(answer).encode() + b"\n")

        with address(folder / "check.sock") as name:
            self._server = socketserver.UnixStreamServer(name, Handler)
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
        except (ValueError, AttributeError, TypeError):
            return {"error": "not a request"}
        cases = [case for case in self._cases if not wanted or case.id in wanted]
        if not cases:
            return {"error": "no such visible case; `evolve-check --list` names them"}
        if listing:
            return {"results": [{"case": c.id, "outcome": "known", "reason": _signal(c)} for c in cases]}
        if self.ended is not None:
            return {"error": "the run has ended"}
        try:
            return {"results": self._replay(cases, fail_fast)}
        except (OutOfBudget, Stopped) as ended:
            self.ended = ended
            return {"error": f"the run has ended: {ended}"}
        except RuntimeBroken as error:
            return {"error": f"the replay broke: {error}"}

    def _replay(self, cases: Sequence[VisibleCase], fail_fast: bool) -> list[dict[str, str]]:
        context = self.context
        key = tree_digest(self.tree)
        if known := self._memo.get(key, {case.id for case in cases}):
            return [known]
        # The digest only names the dependency layer here: the worktree is shown in place of the image's tree.
        jobs = [Job(case, "candidate", context.batch.baseline_digest, context.seed) for case in cases]
        results = []
        for block in [jobs[:1], jobs[1:]] if fail_fast else [jobs]:
            for trial in context.arena.run(block, context.graders.grade, tree=self.tree, limits=LIMITS):
                context.spend_trials(1)
                reason = for_terminal(trial.reason)[:REASON_CHARS]
                results.append({"case": trial.case_id, "outcome": trial.outcome, "reason": reason})
                if trial.outcome == "fail":
                    self._memo.put(key, results[-1])
                    self._try_first_next_time(trial.case_id)
                    if fail_fast:
                        return results
        if self.avoid and all(result["outcome"] == "pass" for result in results) and self._is_known():
            results[0] = {**results[0], "outcome": "fail", "reason": "the gate refused this change before"}
        return results

    def _is_known(self) -> bool:
        repository = self.context.settings.substrate_repository
        base = self.context.batch.baseline_commit
        commit = worktree.commit_directory(repository, self.tree, base, "check")
        return worktree.diff_sha256(repository, base, commit) in self.avoid

    def _try_first_next_time(self, case_id: str) -> None:
        """What failed last fails soonest again: a wrong edit is then refused by its first replay."""
        self._cases.sort(key=lambda case: case.id != case_id)


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
