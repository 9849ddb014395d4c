"""What a value looks like, and which arguments are for such values."""

import re

from workflows.tool_search import words

CLEAR, LITTLE = 0.9, 0.3
_LOOKS = {
    "time": re.compile(r"\d{1,2}:\d{2}(:\d{2})?"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "timezone": re.compile(r"[A-Z]\w+/[A-Z][\w/]+|UTC|GMT"),
    "url": re.compile(r"[a-z]+://\S+"),
    "email": re.compile(r"[^\s@]+@[^\s@]+\.\w+"),
    "pattern": re.compile(r"\S*\*\S*"),
    "path": re.compile(r"[^\s{}<>*]*[./][^\s{}<>*]+"),
}
"""The first that fits."""
_FOR = {
    "time": "time hour clock",
    "date": "date day",
    "timezone": "timezone zone",
    "url": "url uri link address",
    "email": "email mail",
    "pattern": "pattern glob",
    "path": "path file source destination uri directory folder",
}
_WORDS = {kind: frozenset(words(told)) for kind, told in _FOR.items()}


def takes_path(argument: str) -> bool:
    return bool(_WORDS["path"] & set(words(argument)))


def thing(tool: str) -> str:
    """What the tool's name ends with, if that is a name for a path: `directory` of `create_directory`."""
    last = re.split(r"[_/-]", tool)[-1]
    return last if takes_path(last) else ""


def is_path(value: object) -> bool:
    """Or a list of nothing else."""
    texts = value if isinstance(value, list) else [value]
    return all(isinstance(text, str) and _LOOKS["path"].fullmatch(text) is not None for text in texts)


def kind(value: object) -> str | None:
    text = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(text, str):
        return None
    return next((name for name, look in _LOOKS.items() if look.fullmatch(text)), None)


def suits(value: object, argument: str) -> float:
    """How much more likely it is this argument's for that; below 0 where either is for others. A plain word may be a path,
    too, and paths are many."""
    asked, looks = set(words(argument)), kind(value)
    if looks is not None and asked & _WORDS[looks]:
        return LITTLE if looks == "path" else CLEAR
    plain = looks is None and " " not in str(value)
    return -LITTLE * any(asked & told for other, told in _WORDS.items() if not (plain and other == "path"))
