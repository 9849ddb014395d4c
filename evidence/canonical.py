"""One canonical form for everything that is hashed or signed, one kind of id, one clock."""

import hashlib
import json
from datetime import UTC, datetime

from pydantic import BaseModel
from ulid import ULID


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys, no spaces and no NaN: equal values give equal bytes. Models are dumped
    first."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: object) -> str:
    """`sha256:<64 hex>` of `canonical_json(value)`, or of the bytes themselves."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def new_id() -> str:
    """A fresh ULID: 26 characters that sort by time."""
    return str(ULID())


def utcnow() -> datetime:
    """The wall clock, always aware and UTC."""
    return datetime.now(UTC)
