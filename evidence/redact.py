"""Takes secrets out of everything before it is stored.

The same secret always becomes the same placeholder, `[redacted:<kind>:<8 hex>]`, so that a recorded call
still matches
the request that a replay makes from the redacted input. The hex is a keyed hash: without the key it can't be
used to test guesses.
"""

import hmac
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evidence.redact_patterns import EMAIL, KINDS, SECRET_KEYS, Kind
from evidence.redact_stream import join_pieces

_PLACEHOLDER = re.compile(r"\[redacted:[a-z_]+:[0-9a-f]{8}\]")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{24,200}={0,2}(?![A-Za-z0-9+/_=-])")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAME = re.compile(r"[0-9a-f]+|[0-9A-Z]+|[a-z_-]+|[A-Z_-]+")  # hex, ULIDs, words in one case
_DIGITS = re.compile(r"\d(?:[ -]?\d){7}")  # a card or an account number has as many in a row
_OWN_ID = re.compile(r"(?:chatcmpl|cmpl|call|resp|msg|req|toolu|run|thread|fc|rs|item|gen)[-_]")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.I)
_CACHE = 20_000
_CACHED_LENGTH = 100_000


class Unstorable(ValueError):
    """A value that canonical JSON can't express."""


def load_key(path: Path) -> bytes:
    """The key of the placeholders; made on first use, readable by its owner only."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        key = os.urandom(32)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def secret_environment(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Values of this environment that are secrets by their name."""
    return tuple(value for name, value in environ.items() if _SECRET_NAME.search(name) and len(value) >= 8)


def entropy(text: str) -> float:
    """Shannon entropy in bits a character."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def _random_looking(token: str) -> bool:
    """A long token that nobody typed.

    Hashes, UUIDs, ULIDs and the ids of model answers are names, not secrets.
    """
    plain = token.rstrip("=")
    if _NAME.fullmatch(plain) or _UUID.search(plain) or _OWN_ID.match(plain):
        return False
    upper = sum(c.isupper() for c in plain)
    lower = sum(c.islower() for c in plain)
    digits = sum(c.isdigit() for c in plain)
    if min(upper, lower) < 3 or digits < 2 or entropy(plain) < 3.9:
        return False
    # Identifiers and paths change their character class at word borders only, random text at every other
    # character.
    classes = [0 if c.isupper() else 1 if c.islower() else 2 if c.isdigit() else 3 for c in plain]
    changes = sum(a != b for a, b in itertools.pairwise(classes))
    return changes / len(plain) > 0.4


class Redactor:
    """Pure apart from a cache; safe to share between threads."""

    def __init__(self, key: bytes, *, values: Iterable[str] = (), emails: bool = False) -> None:
        self._key = key
        self._values = sorted({v for v in values if len(v) >= 8}, key=len, reverse=True)
        self._kinds: tuple[Kind, ...] = (*KINDS, EMAIL) if emails else KINDS
        self._anchors = [(a, i) for i, kind in enumerate(self._kinds) for a in kind.anchors]
        self._numeric = {i for i, kind in enumerate(self._kinds) if not kind.anchors}
        self._cache: dict[str, str] = {}

    def placeholder(self, kind: str, secret: str) -> str:
        mark = hmac.new(self._key, secret.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:8]
        return f"[redacted:{kind}:{mark}]"

    def text(self, text: str) -> str:
        """The text without its secrets. Idempotent."""
        if len(text) < 8:
            return text
        known = self._cache.get(text)
        if known is None:
            known = self._redact(text)
            if len(text) <= _CACHED_LENGTH:
                if len(self._cache) >= _CACHE:
                    self._cache.clear()
                self._cache[text] = known
        return known

    def value(self, value: Any) -> Any:
        """JSON data without secrets, in keys and values; lone surrogates become U+FFFD.

        Raises Unstorable on NaN and infinity.
        """
        if isinstance(value, str):
            return self.text(_encodable(value))
        if isinstance(value, dict):
            return {self.text(_encodable(key)): self._item(key, item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in join_pieces(list(value), self.text)]
        if isinstance(value, float) and not math.isfinite(value):
            raise Unstorable("a number is not finite")
        return value

    def _item(self, key: str, item: Any) -> Any:
        if isinstance(item, str) and len(item) >= 4 and key.lower() in SECRET_KEYS:
            redacted = self.value(item)
            return redacted if _PLACEHOLDER.search(redacted) else self.placeholder("assigned", item)
        return self.value(item)

    def _redact(self, text: str) -> str:
        for secret in self._values:
            if secret in text:
                text = text.replace(secret, self.placeholder("environment", secret))
        lowered = text.lower()
        hinted = {number for anchor, number in self._anchors if anchor in lowered}
        if _DIGITS.search(text):
            hinted |= self._numeric
        for number in sorted(hinted):
            text = self._replace(self._kinds[number], text)
        return _TOKEN.sub(self._token, text) if len(text) >= 24 else text

    def _replace(self, kind: Kind, text: str) -> str:
        def put(match: re.Match[str]) -> str:
            group = "secret" if "secret" in kind.pattern.groupindex else 0
            secret = match.group(group)
            if "[redacted:" in secret or (kind.valid and not kind.valid(secret)):
                return match.group()
            start, end = match.start(group) - match.start(), match.end(group) - match.start()
            whole = match.group()
            return whole[:start] + self.placeholder(kind.name, secret) + whole[end:]

        return kind.pattern.sub(put, text)

    def _token(self, match: re.Match[str]) -> str:
        token = match.group()
        return self.placeholder("token", token) if _random_looking(token) else token


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
