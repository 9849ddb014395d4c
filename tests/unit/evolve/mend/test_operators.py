"""Every edit parses and differs, touches nothing else, and the same source gives the same edits."""

import ast
import bisect
import copy
import fnmatch
import textwrap
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evolve.mend.edit import Overlap, apply_spans, merged_spans
from evolve.mend.index import build_index
from evolve.mend.operators import edits_of
from evolve.mend.source import Module, Unreadable

SIMPLE = st.sampled_from(
    [
        "total = total + size  # why",
        "total += 1",
        "names.append(key)",
        "self.seen = names[1:size]",
        "value = store.get('key', None)",
        "value = store['key'][0]",
        "print(f'{total} of {size}')",
        "return sorted(names, key=lambda n: (n[0], -len(n)))",
        "raise ValueError(key)",
        "del store[key]",
        "value = [n for n in names if n]",
        "text = '''two\n  lines'''",
        "await self.wait(key, limit=size)",
        "é = 'ü' + key",
        "pass",
    ]
)
TESTS = st.sampled_from(
    ["key in store", "not names", "size > 3 and key", "total is None", "size <= total or key"]
)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map(lambda b: textwrap.indent("\n".join(b), "    "))
    return st.one_of(
        st.tuples(TESTS, body).map(lambda p: f"if {p[0]}:\n{p[1]}"),
        st.tuples(TESTS, body, body).map(lambda p: f"if {p[0]}:\n{p[1]}\nelse:\n{p[2]}"),
        body.map(lambda b: f"for key in names:\n{b}"),
        body.map(lambda b: f"async with self.lock:\n{b}"),
        st.tuples(body, body).map(lambda p: f"try:\n{p[0]}\nexcept KeyError as problem:\n{p[1]}\n    raise"),
    )


PROGRAMS = st.lists(st.recursive(SIMPLE, _nested, max_leaves=5), min_size=1, max_size=4).map(
    lambda body: (
        "import asyncio\nLIMIT = 3\nshared = {}\n\nclass C:\n    seen = []\n\n"
        "    async def wait(self, key, limit=None):\n        return key\n\n"
        "    async def run(self, names, store, key=None, size=3, total=[]):\n        '''Doc.'''\n"
        + textwrap.indent("\n".join(body), "        ")
        + "\n"
    )
)


def _module(source: str) -> Module:
    return Module("m.py", source.encode())


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(PROGRAMS, st.integers(0, 12), st.booleans())
def test_edits_parse_differ_and_touch_nothing_else(source: str, phase: int, windows: bool) -> None:
    module = _module(source.replace("\n", "\r\n") if windows else source)
    index = build_index([module])
    bad = good = 0
    for stmt in module.statements:
        for edit in edits_of(module, stmt, index)[phase::13]:
            spans = merged_spans([edit])
            after = apply_spans(module.data, spans)
            assert after != module.data
            assert _outside(module.data, spans) == _outside_after(after, spans)
            assert 0 < edit.prior <= 1
            assert 0 <= edit.risk <= 1
            try:
                ast.parse(after)
                good += 1
            except SyntaxError:
                bad += 1  # the evaluator skips these without a run; there must be few
    assert bad <= 3 + 0.05 * good


def _outside(data: bytes, spans: list[tuple[int, int, str]]) -> bytes:
    kept, position = b"", 0
    for start, end, _ in spans:
        kept += data[position:start]
        position = end
    return kept + data[position:]


def _outside_after(data: bytes, spans: list[tuple[int, int, str]]) -> bytes:
    kept, position, shift = b"", 0, 0
    for start, end, text in spans:
        kept += data[position : start + shift]
        position = start + shift + len(text.encode())
        shift += len(text.encode()) - (end - start)
    return kept + data[position:]


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(PROGRAMS)
def test_the_same_source_gives_the_same_edits_in_the_same_order(source: str) -> None:
    first, second = _module(source), _module(source)
    one, two = build_index([first]), build_index([second])
    for left, right in zip(first.statements, second.statements, strict=True):
        assert edits_of(first, left, one) == edits_of(second, right, two)


CASES = [
    ("elif", "def f(a):\n    if a:\n        b = 1\n    if a > 1:\n        b = 2\n", "    elif a > 1:"),
    ("accumulate", "def f(a):\n    b = a\n", "b += a"),
    ("global", "N = 0\n\ndef f():\n    N += 1\n", "    global N\n"),
    ("boundary", "def f(a, b):\n    return a < b\n", "a <= b"),
    ("negation", "def f(a):\n    if a.b:\n        return 1\n    return 2\n", "if not a.b:"),
    ("missing await", "async def g():\n    pass\n\nasync def f():\n    g()\n", "    await g()"),
    ("default", "def f(a, b=[]):\n    b.append(a)\n", "def f(a, b=None):\n    if b is None:\n        b = []\n"),
    ("class state", "class C:\n    xs = []\n\n    def add(self, x):\n        self.xs.append(x)\n", "self.xs = []"),
    ("module state", "S = {}\n\nclass C:\n    def __init__(self):\n        self.a = 1\n\n    def f(self):\n"
     "        return S\n", "return self._s"),
    ("copy", "def f(a):\n    return a\n", "return list(a)"),
    ("key", "def f(a):\n    return a['x'], a['y'], a['z']\n", "a['x'], a['x'], a['z']"),
    ("swap", "def f(a, b):\n    return g(a, b)\n", "g(b, a)"),
    ("gather", "async def f(xs):\n    r = []\n    for x in asyncio.as_completed(xs):\n        r.append(await x)\n"
     "    return r\n", "for x in await asyncio.gather(*xs):\n        r.append(x)"),
    ("out of loop", "def f(xs):\n    n = 0\n    for x in xs:\n        n += x\n        return n\n",
     "        n += x\n    return n\n"),
    ("into with", "def f(p, q):\n    with p:\n        a = 1\n    q(a)\n", "    with p:\n        a = 1\n        q(a)\n"),
    ("finally", "def f(p):\n    p.open()\n    p.close()\n", "try:\n        p.open()\n    finally:\n        p.close()"),
    ("exception", "def f(a):\n    try:\n        return a[1]\n    except KeyError:\n        return 0\n",
     "except LookupError:"),
    ("late binding", "def f(xs):\n    return [lambda: x for x in xs]\n", "lambda x=x: x"),
    ("guard", "def f(a):\n    a.b()\n", "    if not a:\n        return\n    a.b()\n"),
    ("sort order", "def f(a):\n    return sorted(a)\n", "sorted(a, reverse=True)"),
    ("keyword of others", "def f(a):\n    g(a, k=1)\n\ndef h(a):\n    g(a)\n", "def h(a):\n    g(a, k=1)"),
    ("mined with", "def f(s):\n    with s.lock:\n        s.n = 1\n\ndef g(s):\n    s.n = 2\n",
     "def g(s):\n    with s.lock:\n        s.n = 2"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_edit_is_among_those_proposed(source: str, expected: str) -> None:
    module = _module(source)
    index = build_index([module])
    edits = [e for stmt in module.statements for e in edits_of(module, stmt, index)]
    assert any(expected in apply_spans(module.data, merged_spans([e])).decode() for e in edits)


ORDERS = {
    "used, then replaced": "    a = send(x)\n    x = clean(x)\n",
    "nothing in common": "    a = send(x)\n    b = clean(y)\n",
    "needs the other's result": "    a = send(x)\n    b = clean(a)\n",
}


def test_a_swap_is_likelier_the_more_it_looks_as_if_the_order_were_wrong() -> None:
    priors = []
    for body in ORDERS.values():
        module = _module(f"def f(x, y):\n{body}    return y\n")
        edits = [e for stmt in module.statements for e in edits_of(module, stmt, build_index([module]))]
        [swap] = [e for e in edits if e.operator == "statement.swap" and e.line == 3]
        priors.append(swap.prior)
    assert priors == sorted(set(priors), reverse=True)


@pytest.mark.parametrize("found", [bisect, fnmatch, copy])
def test_statements_of_real_modules_can_be_edited(found: ModuleType) -> None:
    with open(str(found.__file__), "rb") as source:
        module = Module("m.py", source.read())
    index = build_index([module])
    assert sum(len(edits_of(module, stmt, index)) for stmt in module.statements[::9]) > 50


@pytest.mark.parametrize("data", [b"\xff", b"def", b"a = 1\rb = 2\n", b"x = '\0'"])
def test_what_cannot_be_edited_safely_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        Module("m.py", data)


def test_edits_that_want_the_same_bytes_are_refused() -> None:
    module = _module("def f(a):\n    return a\n")
    edits = edits_of(module, module.statements[1], build_index([module]))
    with pytest.raises(Overlap):
        merged_spans(edits[:2])
