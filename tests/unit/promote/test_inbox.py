"""The inbox forgets nothing, doubles nothing and keeps each session's order, also over a reopening."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from promote.inbox import Conflict, Full, Inbox

MOST = 4
IDS = st.sampled_from([f"t{n}" for n in range(8)])
SESSIONS = st.sampled_from(["a", "b"])


class InboxMachine(RuleBasedStateMachine):
    """A model in a dictionary beside the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.inbox = Inbox(Path(self.folder.name) / "inbox.db", MOST)
        self.turns: dict[str, tuple[str, bytes]] = {}
        self.answers: dict[str, int] = {}

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

    @rule(ident=IDS, status=st.sampled_from([200, 500]))
    def finish(self, ident: str, status: int) -> None:
        self.inbox.finish(ident, status, b"{}")
        if ident in self.turns:
            self.answers.setdefault(ident, status)  # the first answer stays

    @rule()
    def reopen(self) -> None:
        self.inbox.close()
        self.inbox = Inbox(Path(self.folder.name) / "inbox.db", MOST)

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
    inbox.finish("old", 200, b"{}")
    inbox.forget(60)
    assert inbox.get("old") is not None
    inbox.forget(-1)
    assert inbox.get("old") is None
    assert inbox.get("waits") is not None
    inbox.close()
