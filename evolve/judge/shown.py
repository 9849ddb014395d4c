"""What people are told of the judge: its words on one candidate, and what they are worth."""

from evolve.judge.models import Calibrated, Judged, Keypoints, Word
from evolve.views import Record

WORDS: dict[Word, str] = {
    "better": "better",
    "same": "as good",
    "worse": "worse",
    "disagree": "on which its two orders disagree",
}


def in_words(judged: Judged) -> str:
    if judged.trouble:
        return failed(judged.trouble)
    told = [f"{len(cases)} {words}" for word, words in WORDS.items() if (cases := judged.those(word))]
    if judged.alike:
        told.append(f"{len(judged.alike)} with the very same reply")
    return ", ".join(told)


def failed(trouble: str) -> str:
    return f"the judging failed: {trouble}"


class JudgeStory(Record):
    """`judged`: None when it was not asked about this candidate. `calibrated`: whether it counted in that pass. `trouble`:
    why it fixed no keypoints."""

    coder: str
    judged: Judged | None
    calibrated: Calibrated | None
    trouble: str

    @property
    def counts(self) -> bool:
        return self.calibrated is not None and self.calibrated.counts

    @property
    def sentence(self) -> str:
        if self.trouble:
            return failed(self.trouble)
        return "not asked about this candidate" if self.judged is None else in_words(self.judged)

    @property
    def worth(self) -> str:
        if self.calibrated is None:
            return "it counts for nothing"
        return self.calibrated.reason if self.counts else f"{self.calibrated.reason}: it counts for nothing"


def judge_story(
    fixed: Keypoints | None, judged: Judged | None, calibrated: Calibrated | None
) -> JudgeStory | None:
    """None where nobody was to judge."""
    if fixed is None:
        return None
    return JudgeStory(coder=fixed.coder, judged=judged, calibrated=calibrated, trouble=fixed.trouble)
