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

    def find(self, value: str, browser: str, *, used: bool = True) -> Session | None:
        """The live session behind a cookie, if it came from the browser that signed in. `used`: by a person, which
        keeps it alive."""
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
            if used:
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
    """At most `for_person` tries in `seconds` for one name, and `for_address` from one address, whatever the names.

    A try counts when it begins, so that many at once are not all heard before the first has failed.
    """

    def __init__(
        self,
        for_person: int = 5,
        for_address: int = 20,
        seconds: float = 300.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._for_person, self._for_address = for_person, for_address
        self._seconds, self._clock = seconds, clock
        self._lock = threading.Lock()
        self._tries: deque[tuple[float, str, str]] = deque()

    def take(self, person: str, address: str) -> float:
        """0 when the try is heard (it is counted then), else the seconds until the next one is."""
        now = self._clock()
        with self._lock:
            while self._tries and now - self._tries[0][0] >= self._seconds:
                self._tries.popleft()
            mine = [at for at, who, _ in self._tries if who == person]
            near = [at for at, _, where in self._tries if where == address]
            waits = [
                found[-most] + self._seconds - now
                for found, most in ((mine, self._for_person), (near, self._for_address))
                if len(found) >= most
            ]
            if not waits:
                self._tries.append((now, person, address))
            return max(waits, default=0.0)

    def succeeded(self, person: str) -> None:
        """Forgives what this person did wrong, nobody else."""
        with self._lock:
            self._tries = deque(found for found in self._tries if found[1] != person)


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
