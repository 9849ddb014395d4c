"""The inbox forgets nothing, doubles nothing and keeps each session's order, also over a reopening."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from promote.inbox import GIVEN_UP, Conflict, Full, Inbox, InboxBroken, Kept, mark, reopen

MOST = 4
IDS = st.sampled_from([f"t{n}" for n in range(8)])
SESSIONS = st.sampled_from(["a", "b"])


class InboxMachine(RuleBasedStateMachine):
    """A model in a dictionary beside the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "inbox.db"
        self.inbox = Inbox(self.path, MOST)
        self.turns: dict[str, tuple[str, bytes]] = {}
        self.answers: dict[str, int] = {}
        self.taken: dict[str, Kept] = {}
        self.called_back: set[str] = set()
        """Taken before a replay: what comes of that does not count."""
        self.released, self.number = list[str](), 0
        """The turns that were sure to be answered at the mark, and the mark."""

    def waiting(self) -> list[str]:
        return [ident for ident in self.turns if ident not in self.answers]

    @rule(ident=IDS, session=SESSIONS, body=st.sampled_from([b"{}", b'{"a":1}']))
    def put(self, ident: str, session: str, body: bytes) -> None:
        if ident in self.turns:
            if self.turns[ident] == (session, body):
                assert not self.inbox.put(ident, session, body)
            else:
                with pytest.raises(Conflict):
                    self.inbox.put(ident, session, body)
        elif len(self.waiting()) >= MOST:
            with pytest.raises(Full):
                self.inbox.put(ident, session, body)
        else:
            assert self.inbox.put(ident, session, body)
            self.turns[ident] = (session, body)

    @rule(busy=st.sets(SESSIONS))
    def next(self, busy: set[str]) -> None:
        found = self.inbox.next(sorted(busy))
        expected = next((ident for ident in self.waiting() if self.turns[ident][0] not in busy), None)
        assert (found and found.id) == expected

    @rule(session=SESSIONS)
    def take(self, session: str) -> None:
        found = self.inbox.first(session)
        expected = next((ident for ident in self.waiting() if self.turns[ident][0] == session), None)
        assert (found and found.id) == expected
        if found is not None:
            self.taken[found.id] = found
            self.called_back.discard(found.id)

    @rule(ident=IDS, status=st.sampled_from([200, 500, GIVEN_UP]))
    def finish(self, ident: str, status: int) -> None:
        if ident not in self.taken:
            return
        counts = ident not in self.answers and ident not in self.called_back  # the first answer stays
        assert self.inbox.finish(self.taken[ident], status, b"{}") == counts
        if counts:
            self.answers[ident] = status

    @rule()
    def release(self) -> None:
        """From here on somebody else answers."""
        waiting = self.waiting()
        idents = list(self.turns)
        self.released = idents[: idents.index(waiting[0])] if waiting else idents
        self.number = mark(self.path)

    @rule()
    def replay(self) -> None:
        if self.number == 0:
            return
        again = [ident for ident in self.turns if ident not in self.released]
        again = [ident for ident in again if self.answers.get(ident) != GIVEN_UP]
        assert reopen(self.path, self.number) == len(again)
        for ident in again:
            self.answers.pop(ident, None)
        self.called_back |= set(again) & set(self.taken)

    @rule()
    def restart(self) -> None:
        self.inbox.close()
        self.inbox = Inbox(self.path, MOST)

    @invariant()
    def nothing_is_lost(self) -> None:
        for ident, (session, body) in self.turns.items():
            kept = self.inbox.get(ident)
            assert kept is not None
            assert (kept.session, kept.body, kept.status) == (session, body, self.answers.get(ident))
        assert self.inbox.waiting() == len(self.waiting())

    def teardown(self) -> None:
        self.inbox.close()
        self.folder.cleanup()


TestInbox = InboxMachine.TestCase
TestInbox.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_answers_are_forgotten_after_their_time_and_turns_that_wait_are_not(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db", MOST)
    inbox.put("old", "a", b"{}")
    inbox.put("waits", "a", b"{}")
    answer(inbox, "old")
    inbox.forget(60)
    assert inbox.get("old") is not None
    inbox.forget(-1)
    assert inbox.get("old") is None
    assert inbox.get("waits") is not None
    inbox.close()


def test_a_replay_begins_with_the_oldest_turn_that_waited_and_leaves_what_was_answered_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "inbox.db"
    inbox = Inbox(path, MOST)
    for ident in ("before", "waits", "after"):
        inbox.put(ident, "s", b"{}")
    answer(inbox, "before")
    first = mark(path)
    for ident in ("waits", "after"):
        answer(inbox, ident)
    assert reopen(path, first) == 2
    told = [inbox.get(ident) for ident in ("before", "waits", "after")]
    assert [turn and turn.status for turn in told] == [200, None, None]
    inbox.close()


def test_an_answer_that_was_under_way_at_a_replay_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    inbox = Inbox(path, MOST)
    first = mark(path)
    inbox.put("a", "s", b"{}")
    asked = inbox.first("s")
    assert asked is not None
    reopen(path, first)
    assert not inbox.finish(asked, 200, b"from a state that is left behind")
    assert answer(inbox, "a")
    inbox.close()


def answer(inbox: Inbox, ident: str) -> bool:
    turn = inbox.get(ident)
    assert turn is not None
    return inbox.finish(turn, 200, b"{}")


def test_a_number_is_never_given_twice_whatever_was_forgotten(tmp_path: Path) -> None:
    """Else a turn that came after the mark would look as if it came before."""
    path = tmp_path / "inbox.db"
    inbox = Inbox(path, MOST)
    for ident in ("a", "b"):
        inbox.put(ident, "s", b"{}")
        answer(inbox, ident)
    first = mark(path)
    inbox.forget(-1)
    inbox.put("c", "s", b"{}")
    assert reopen(path, first) == 1
    inbox.close()


def test_an_inbox_of_an_older_ingress_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    Inbox(path, MOST).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE turns DROP COLUMN round")
    inbox = Inbox(path, MOST)
    assert inbox.put("a", "s", b"{}")
    inbox.close()


def test_what_is_no_inbox_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "inbox.db").write_bytes(b"no database " * 1000)
    for ask in (mark, lambda path: reopen(path, 1)):
        with pytest.raises(InboxBroken, match="the inbox can't be used: "):
            ask(tmp_path / "inbox.db")
