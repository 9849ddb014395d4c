"""Copied beside each faulty program: `python check.py CASES.json JUNIT.xml` runs its cases against `subject.py`.

Standard library only. Sets PYTEST_CURRENT_TEST as pytest does, so that coverage can tell the cases apart.
"""

import json
import os
import re
import signal
import sys
import traceback
from xml.sax.saxutils import quoteattr

CASE_SECONDS = 1.0
ANSWERS = (
    *(
        ArithmeticError,
        AssertionError,
        AttributeError,
        BufferError,
        EOFError,
        ImportError,
        LookupError,
        NameError,
    ),
    *(OSError, RuntimeError, StopIteration, SyntaxError, TypeError, ValueError, re.error),
)


def observe(module, call, values):
    """What a call gives, as text: the representation of its value or the name of its exception."""
    names = dict(zip("abcdefgh", json.loads(json.dumps(values)), strict=False))
    try:
        return repr(eval(call, {"s": module, **names}))
    except ANSWERS as problem:  # what the program under test raises is its answer
        if os.environ.get("CHECK_TRACE"):
            traceback.print_exc()
        return "!" + type(problem).__name__


def run(cases, record):
    failed = 0

    def late(number, frame):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    for number, case in enumerate(cases["cases"]):
        os.environ["PYTEST_CURRENT_TEST"] = f"case-{number} (call)"
        signal.setitimer(signal.ITIMER_REAL, CASE_SECONDS)
        import subject

        seen = observe(subject, cases["call"], case["inputs"])
        signal.setitimer(signal.ITIMER_REAL, 0)
        good = seen == case["expected"]
        failed += not good
        record(number, good, seen)
    return failed


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        cases = json.load(source)
    rows = []

    def record(number, good, seen):
        inner = "" if good else f"<failure message={quoteattr(ascii(seen[:200]))}/>"
        rows.append(f'<testcase name="case-{number}">{inner}</testcase>')

    failed = run(cases, record)
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w", encoding="utf-8") as sink:
            sink.write(f"<testsuite>{''.join(rows)}</testsuite>")
    print(f"{failed} of {len(rows)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
