"""Evaluates patterns, JSON paths and schemas for `trial.graders.matcher`; a process of its own, started by
path.

Patterns are the operator's, texts are hostile, and Python's `re` can take exponential time inside one
call that no thread can interrupt. So each question sets a timer whose default action ends this process;
the caller sees that and starts another. One JSON object a line, both ways.
"""

import json
import re
import resource
import signal
import sys
from typing import Any

MEMORY = 1 << 30


def answer(question: dict[str, Any]) -> object:
    op: str = question["op"]
    value: Any = question["value"]
    if op == "regex":
        pattern = re.compile(question["pattern"])
        found = pattern.fullmatch(value) if question.get("full") else pattern.search(value)
        return found is not None
    if op == "path":
        import jsonpath

        path = jsonpath.compile(question["path"])
        if isinstance(value, str):  # the library would parse it as a document
            return [value] if question["path"].strip() == "$" else []
        return path.findall(value)
    if op == "schema":
        from jsonschema.validators import validator_for

        schema = question["schema"]
        cls = validator_for(schema)
        cls.check_schema(schema)
        error = next(iter(cls(schema).iter_errors(value)), None)
        return None if error is None else f"{error.json_path}: {error.message}"[:400]
    raise ValueError(f"unknown question {op!r}")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin.buffer:
        try:
            question = json.loads(line)
            signal.setitimer(signal.ITIMER_REAL, float(question["seconds"]))
            reply: dict[str, object] = {"ok": answer(question)}
        except Exception as error:  # noqa: BLE001 - libraries raise what they like; the caller says it is broken
            reply = {"error": f"{type(error).__name__}: {error}"[:400]}
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
