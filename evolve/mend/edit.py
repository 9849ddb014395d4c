"""What a candidate is: byte spans of one file, replaced."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int, str]
"""Start and end byte offset in the original file, and what stands there afterwards."""


class Overlap(ValueError):
    """Two replacements want the same bytes."""


@dataclass(frozen=True)
class Edit:
    """One generic change. `prior` ranks it among the edits of one statement, `risk` among edits that pass."""

    file: str
    line: int
    operator: str
    prior: float
    spans: tuple[Span, ...]
    risk: float = 0.0

    def key(self) -> tuple[str, int, str, tuple[Span, ...]]:
        """A total order that depends on nothing but the edit."""
        return (self.file, self.line, self.operator, self.spans)

    def size(self) -> int:
        """Bytes touched: removed plus written."""
        return sum(end - start + len(text.encode()) for start, end, text in self.spans)


def merged_spans(edits: Iterable[Edit]) -> list[Span]:
    """All replacements in order of position. Raises Overlap when two touch the same bytes."""
    spans = sorted(span for edit in edits for span in edit.spans)
    for (left_start, left_end, _), (right_start, right_end, _) in pairwise(spans):
        if right_start < left_end or left_start == left_end == right_start == right_end:
            raise Overlap(f"bytes {right_start} to {left_end} are changed twice")
    return spans


def apply_spans(data: bytes, spans: Sequence[Span]) -> bytes:
    """`data` with the sorted, disjoint spans replaced; every other byte stays."""
    out: list[bytes] = []
    position = 0
    for start, end, text in spans:
        out += (data[position:start], text.encode())
        position = end
    out.append(data[position:])
    return b"".join(out)


def apply_edits(sources: Mapping[str, bytes], edits: Iterable[Edit]) -> dict[str, bytes]:
    """The files that change, with their new content. Raises Overlap."""
    by_file: dict[str, list[Edit]] = {}
    for edit in edits:
        by_file.setdefault(edit.file, []).append(edit)
    return {name: apply_spans(sources[name], merged_spans(by_file[name])) for name in sorted(by_file)}
