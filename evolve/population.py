"""What a run knows while it works: the archive of its candidates, and what every proposal taught.

Nothing here is stored: the same stored stages, walked through in the same order, make it anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from evolve.archive import Entry
from evolve.judge.models import Judged
from evolve.stage import Place
from evolve.stages.models import Built, Decided, Evaluated, Screened, Selected, Standing

RANKS = ("converged", "inconclusive", "needs_work", "regressed")
"""Verdicts on a candidate that may be shown as the best so far, best first."""


@dataclass
class Population:
    """`seen` holds one answer for every proposal that ended, in order."""

    entries: list[Entry] = field(default_factory=list)
    seen: list[Evaluated] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    """Hashes of the diffs that were handed in, so that none is looked at twice."""
    lessons: list[str] = field(default_factory=list)
    """A line for each proposal: what it took the cause to be and what became of it; for the plans after it."""
    ended: Decided | None = None
    """Set by an answer that ends the whole run."""
    judged: dict[str, Judged] = field(default_factory=dict)
    _built: dict[str, Built] = field(default_factory=dict)
    _screened: dict[str, Screened] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)

    def add_candidate(self, built: Built, screened: Screened, place: Place, micro_usd: int) -> None:
        """One that was replayed on the visible cases."""
        candidate = built.candidate
        self._built[candidate.id], self._screened[candidate.id] = built, screened
        self._places[candidate.id] = replace(place, round=0)
        entry = Entry(
            id=candidate.id,
            iteration=place.iteration,
            coder=candidate.coder,
            commit=candidate.commit,
            parents=candidate.parents,
            scores=screened.scores,
            lost=screened.lost,
            lines=candidate.lines_added + candidate.lines_removed,
            micro_usd=micro_usd,
            files=candidate.files,
        )
        self.entries.append(entry)
        reason = _shown(entry)
        self.lessons.append(f"{entry.id} by {entry.coder} in {', '.join(entry.files)}: {reason}")
        if entry.lost or not entry.mended:
            word = "needs_work" if entry.scores else "inconclusive"
            refused = Evaluated(word=word, reasons=(reason,), candidate_id=None, gained=(), lost=entry.lost)
            self.seen.append(refused)

    def built(self, candidate_id: str) -> Built:
        return self._built[candidate_id]

    def place(self, candidate_id: str) -> Place:
        """Of the proposal that it came from."""
        return self._places[candidate_id]

    def replies(self, candidate_id: str) -> Mapping[str, str]:
        """What it answers where the baseline fails."""
        return self._screened[candidate_id].replies

    def weigh_judgements(self, counts: bool) -> None:
        """Let what the judge thinks count from now on, or no more."""
        self.entries = [
            replace(entry, judged=self.judged[entry.id].net if counts else 0)
            if entry.id in self.judged
            else entry
            for entry in self.entries
        ]

    @property
    def images(self) -> dict[str, str]:
        """Digest of each candidate's image."""
        return {name: built.candidate.image for name, built in self._built.items()}

    def standing(self) -> Standing:
        """What a choice among them rests on, as a stage's input."""
        return Standing(
            entries=tuple((e.id, dict(e.scores), e.lost, e.word) for e in self.entries),
            judged={e.id: e.judged for e in self.entries if e.judged},
        )

    def remeasure(self, chosen: Selected) -> None:
        """Take over the scores of the second look."""
        self.entries = [
            replace(entry, scores=chosen.scores[entry.id]) if entry.id in chosen.scores else entry
            for entry in self.entries
        ]

    def add_answer(self, seen: Evaluated, who: str) -> None:
        """What a gate said of a proposal or a candidate; the plans after it are told."""
        self.seen.append(seen)
        self.entries = [
            replace(entry, word=seen.word) if entry.id == seen.candidate_id else entry
            for entry in self.entries
        ]
        self.lessons.append(f"{who}: {seen.word}: {'; '.join(seen.reasons)}")

    @property
    def best(self) -> Evaluated | None:
        """The best candidate that was tried, never merely the last."""
        return best_of(self.seen)


def _shown(entry: Entry) -> str:
    if not entry.scores:
        return "not measured: the arena broke every visible case that it should mend"
    breaks = f" and breaks {len(entry.lost)}" if entry.lost else ""
    return f"mends {len(entry.mended)} of {len(entry.scores)} visible cases{breaks}"


def best_of(seen: list[Evaluated]) -> Evaluated | None:
    """By the verdict's word, then by what it gained over what it lost; the earlier of two equals."""
    tried = [one for one in seen if one.candidate_id is not None and one.word in RANKS]
    return min(tried, key=lambda one: (RANKS.index(one.word), len(one.lost) - len(one.gained)), default=None)
