"""The map says what the sources say, whatever they are."""

from hypothesis import given
from hypothesis import strategies as st

from evolve.stages.models import Suspect
from evolve.substrate_map import MAX_BYTES, draw_map

SOURCES = {
    "app/main.py": b'"""Where requests come in."""\nfrom app import tools\n\ndef handle(x):\n    return tools.add(x)\n',
    "app/tools.py": b'"""Sums."""\n\nclass Box:\n    def put(self):\n        return add(1)\n\ndef add(x):\n    return x\n',
    "broken.py": b"def (:\n",
    "substrate.toml": b"x = 1\n",
}


def test_modules_calls_and_failing_paths_are_named() -> None:
    text = draw_map(SOURCES, [Suspect(file="app/tools.py", line=8, score=0.9)])
    assert text.index("## app/tools.py") < text.index("## app/main.py")  # the suspicious one first
    assert "- add 7-8 ! 0.90; called by handle, Box.put" in text
    assert "- handle 4-5; calls add" in text
    assert "imports app" in text
    assert "Where requests come in." in text
    assert "broken.py (2 lines)\n(can't be parsed)" in text
    assert "- substrate.toml" in text


@given(
    st.dictionaries(st.text(max_size=8).map(lambda name: name + ".py"), st.binary(max_size=200), max_size=4)
)
def test_no_source_breaks_it(sources: dict[str, bytes]) -> None:
    assert draw_map(sources, []).startswith("# Map")


def test_a_huge_repository_is_cut() -> None:
    many = {f"m{number}.py": b"def f():\n    pass\n" * 40 for number in range(200)}
    text = draw_map(many, [])
    assert len(text.encode()) <= MAX_BYTES + 10
    assert text.endswith("(cut)\n")
