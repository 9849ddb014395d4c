"""Runs operators' Python graders inside the grader sandbox. Standard library only; started by path, never
imported.

Answers questions on stdin, one JSON object a line. Each question is answered by a forked child, so that
whatever a grader does to its process, or hostile data does to a grader, ends with that question. The child's
answer comes over a pipe of its own: what graders print goes nowhere.
"""

import contextlib
import importlib.util
import json
import os
import select
import signal
import sys
import time
from typing import Any

MAX_ANSWER = 1 << 16
loaded: dict[tuple[str, str], Any] = {}


def load(folder: str, file: str, function: str) -> Any:
    """The function, from a module that is imported once, before any candidate's data is seen by it."""
    key = (folder, file)
    if key not in loaded:
        path = os.path.join(folder, file)
        sys.path.insert(0, os.path.dirname(path))
        try:
            spec = importlib.util.spec_from_file_location(f"grader_{len(loaded)}", path)
            if spec is None or spec.loader is None:
                raise ImportError(f"{file} can't be imported")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        finally:
            sys.path.pop(0)
        loaded[key] = module
    found = getattr(loaded[key], function, None)
    if not callable(found):
        raise ImportError(f"{file} has no function {function!r}")
    return found


def score_of(result: Any) -> tuple[float, str]:
    """(score, reason) of what `grade` returned; ValueError for anything that is not a score in [0, 1]."""
    reason = ""
    if isinstance(result, dict):
        reason = str(result.get("reason", ""))
        result = result.get("score")
    elif isinstance(result, tuple | list) and len(result) == 2:
        result, reason = result[0], str(result[1])
    if isinstance(result, bool):
        return float(result), reason
    if not isinstance(result, (int, float)) or not 0 <= result <= 1:
        raise ValueError(f"it returned {result!r:.100}, which is no score between 0 and 1")
    return float(result), reason


def verdict_of(result: object) -> tuple[float, str]:
    """(score, reason) of what a rule returned."""
    if result is None or result == "":
        return 1.0, ""
    if not isinstance(result, str):
        raise ValueError(f"it returned {result!r:.100}, not a reason or None")
    return 0.0, result


def child(function: Any, question: dict[str, Any], out: int) -> None:
    """Never returns."""
    status = 1
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nowhere, fd)
        result = function(*question["arguments"])
        score, reason = (verdict_of if question["rule"] else score_of)(result)
        answer: dict[str, object] = {"score": score, "reason": reason[:500]}
        status = 0
    except BaseException as error:  # noqa: BLE001 - whatever a grader raises, it is broken
        answer = {"broken": f"{type(error).__name__}: {error}"[:400]}
    try:
        os.write(out, json.dumps(answer).encode())
    finally:
        os._exit(status)


def ask(function: Any, question: dict[str, Any]) -> dict[str, Any]:
    """The child's answer, or why there is none. Nothing of the child's process group survives."""
    inside, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(inside)
        child(function, question, out)
    os.close(out)
    end, data, late = time.monotonic() + question["timeout"], b"", False
    while len(data) <= MAX_ANSWER:
        if not select.select([inside], [], [], max(0.0, end - time.monotonic()))[0]:
            late = True
            break
        chunk = os.read(inside, 65536)
        if not chunk:
            break
        data += chunk
    os.close(inside)
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if late:
        return {"broken": f"took longer than {question['timeout']:g} s"}
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"broken": "it ended without an answer"}


def main() -> None:
    for line in sys.stdin.buffer:
        question = json.loads(line)
        try:
            function = load(question["folder"], question["file"], question["function"])
            answer = ask(function, question)
        except BaseException as error:  # noqa: BLE001 - an operator's file may raise anything when it is imported
            answer = {"broken": f"{type(error).__name__}: {error}"[:400]}
        sys.stdout.write(json.dumps(answer | {"id": question["id"]}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
