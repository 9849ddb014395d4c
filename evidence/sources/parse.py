"""From the bytes of a line to JSON data that can be stored, or to the reason why not."""

import json
from typing import Any, NoReturn

from evidence.redact import Redactor, Unstorable
from evidence.sources.tail import MAX_LINE, Line

_MAX_INT = 2**63


class BadLine(ValueError):
    """The line can't be used; the message is the reason."""


def _no_constant(name: str) -> NoReturn:
    raise BadLine(f"{name} is not JSON")


def _integer(text: str) -> int:
    if len(text) > 20 or not -_MAX_INT <= int(text) < _MAX_INT:
        raise BadLine("an integer is larger than 64 bits")
    return int(text)


def parse(line: Line, redactor: Redactor) -> dict[str, Any]:
    """The redacted object of one line. Raises BadLine."""
    if line.oversized:
        raise BadLine(f"line of {line.length} bytes is longer than {MAX_LINE}")
    try:
        data = json.loads(line.data, parse_constant=_no_constant, parse_int=_integer)
        if not isinstance(data, dict):
            raise BadLine(f"not an object but {type(data).__name__}")
        redacted: dict[str, Any] = redactor.value(data)
        return redacted
    except BadLine:
        raise
    except Unstorable as error:
        raise BadLine(str(error)) from None
    except RecursionError:
        raise BadLine("nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"not JSON: {error}") from None


def column(value: object, name: str, limit: int = 200) -> str:
    """Text that both databases can index. Raises BadLine."""
    if not isinstance(value, str) or len(value) > limit or "\x00" in value:
        raise BadLine(f"{name} is not a text of at most {limit} characters")
    return value
