"""Who is at the browser. Sessions live in this process's memory only: a restart signs everybody out.

A session is bound to the person, to the key that the person had at sign-in, and to the browser that signed
in. It can look; it cannot consent: each decision asks for the passphrase again, and spends a form's nonce,
which was issued to this session for this one act on these bytes.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

IDLE_SECONDS = 30 * 60.0
LIFE_SECONDS = 8 * 3600.0
NONCE_SECONDS = 30 * 60.0
NONCES_PER_SESSION = 64
SESSIONS = 256

Clock = Callable[[], float]


@dataclass
class Session:
    person: str
    key: str
    """The public key in force at sign-in; a replaced key ends the session."""
    browser: str
    born: float
    seen: float
    token: str
    """For the one form that decides nothing (signing out)."""
    nonces: "OrderedDict[str, tuple[str, float]]" = field(default_factory=OrderedDict)


class Sessions:
    """All sessions of this process; every method may be called from any thread."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._secret = secrets.token_bytes(32)

    def open(self, person: str, key: str, browser: str) -> str:
        """Start a session; returns the cookie's value, of which only a hash is kept."""
        value, now = secrets.token_urlsafe(32), self._clock()
        session = Session(person, key, _hash(browser), now, now, secrets.token_urlsafe(16))
        with self._lock:
            self._sessions[_hash(value)] = session
            while len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)
        return value

    def find(self, value: str, browser: str) -> Session | None:
        """The live session behind a cookie, if it came from the browser that signed in. Looking keeps it
        alive."""
        now = self._clock()
        with self._lock:
            session = self._sessions.get(_hash(value))
            if session is None:
                return None
            if now - session.seen > IDLE_SECONDS or now - session.born > LIFE_SECONDS:
                del self._sessions[_hash(value)]
                return None
            if not hmac.compare_digest(session.browser, _hash(browser)):
                return None
            session.seen = now
            return session

    def close(self, value: str) -> None:
        with self._lock:
            self._sessions.pop(_hash(value), None)

    def issue(self, session: Session, act: str) -> str:
        """A nonce for one form; `act` names deed, subject and bytes."""
        nonce = secrets.token_urlsafe(18)
        with self._lock:
            session.nonces[nonce] = (act, self._clock())
            while len(session.nonces) > NONCES_PER_SESSION:
                session.nonces.popitem(last=False)
        return nonce

    def spend(self, session: Session, nonce: str, act: str) -> bool:
        """True once, for the act that it was issued for. A nonce shown for another act is burnt all the
        same."""
        with self._lock:
            issued_for, at = session.nonces.pop(nonce, ("", 0.0))
        return bool(issued_for) and issued_for == act and self._clock() - at <= NONCE_SECONDS

    def sign_in_nonce(self, visitor: str) -> str:
        """For the form that comes before a session: bound to the visitor's own cookie, nothing is stored."""
        return hmac.new(self._secret, visitor.encode(), hashlib.sha256).hexdigest()

    def sign_in_nonce_fits(self, visitor: str, nonce: str) -> bool:
        return bool(visitor) and hmac.compare_digest(self.sign_in_nonce(visitor).encode(), nonce.encode())


class Limiter:
    """At most `tries` failures in `seconds` for one name, and ten times as many for all names together."""

    def __init__(self, tries: int = 5, seconds: float = 300.0, clock: Clock = time.monotonic) -> None:
        self._tries, self._seconds, self._clock = tries, seconds, clock
        self._lock = threading.Lock()
        self._failures: deque[tuple[float, str]] = deque()

    def wait(self, name: str) -> float:
        """Seconds until the next try of this name is heard; 0 when it is heard now."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            mine = [at for at, who in self._failures if who == name]
            everybody = [at for at, _ in self._failures]
        waits = [0.0]
        if len(mine) >= self._tries:
            waits.append(mine[-self._tries] + self._seconds - now)
        if len(everybody) >= self._tries * 10:
            waits.append(everybody[-self._tries * 10] + self._seconds - now)
        return max(waits)

    def failed(self, name: str) -> None:
        with self._lock:
            self._failures.append((self._clock(), name))

    def succeeded(self, name: str) -> None:
        with self._lock:
            self._failures = deque((at, who) for at, who in self._failures if who != name)

    def _forget(self, now: float) -> None:
        while self._failures and now - self._failures[0][0] >= self._seconds:
            self._failures.popleft()


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
