"""What people are told about a rollback before they sign."""

import pytest

from containers.substrate import StateSchema
from evolve.rollback_class import declared_class, in_words


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (((1,), 1), ((1,), 1), "same"),
        (((1, 2), 1), ((1, 2), 2), "forward_compatible"),
        (((1,), 1), ((1, 2), 1), "forward_compatible"),
        (((1,), 1), ((1, 2), 2), "lossy"),
        (((1, 2), 2), ((2, 3), 3), "lossy"),
    ],
)
def test_an_image_is_lossy_when_the_live_one_does_not_read_what_it_writes(
    before: tuple[tuple[int, ...], int], after: tuple[tuple[int, ...], int], expected: str
) -> None:
    old, new = (StateSchema(reads=reads, writes=writes) for reads, writes in (before, after))
    assert declared_class(old, new) == expected


def test_words_say_what_is_lost() -> None:
    assert "keeps" in in_words("forward_compatible", replays_inbox=True)
    assert "everything" in in_words("lossy", replays_inbox=False)
    assert "answered anew" in in_words("lossy", replays_inbox=True)
