"""Where a workflow's literals come from: what its request says, or nowhere. A value that nobody gave was made up by
whoever planned."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

from workflows.catalog import Catalog
from workflows.check import Problem
from workflows.graph import Literal, Workflow, calls
from workflows.tool_search import words as stems
from workflows.types import named_types, property_schema

LINKS = frozenset({"called", "named", "titled"})
"""Words between a thing and its name."""
_FUNCTION = """
i me my we us our you your he him his she her it its they them their this that these those here there
what which who whom whose where when why how be am is are was were been being have has had do does did
will would shall should may might must can could not no nor any all each both every either neither some
few many more most other another same such only just also too than so if else while until again once now
then please tell about above across after against along among around before behind below beneath beside
between beyond down during exactly inside near off onto out outside over per since through toward towards
under up via within without back
"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())
"""They name nothing, also where no tool's description has them."""
LONGEST_READ = 8000
"""Characters: what stands behind names no value."""
MOST_VALUES = 64
"""That are looked at, the first; no request is about more."""
LONGEST = 6
"""Words after a colon that are a value: what is longer is an instruction."""
COMMON = 3
"""Tools that have a word in common."""
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^']+)'|`([^`]+)`")
_TOKEN = re.compile(r"[^\s\"'`,;?!()]*[^\s\"'`,;?!().:]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Request:
    """What a request says. A word of it that no tool's description has is its own: a text with one of them was not made
    up. A text of nothing but words that the tools have in common, such as `the text`, says nothing, wherever it stands."""

    def __init__(self, text: str, catalog: Catalog) -> None:
        self.text = text = text[:LONGEST_READ]
        self._places: dict[str, int] = {}
        self.values = literals(text)
        self.marked = _marked(text)[:MOST_VALUES]
        self._plain = _plain(text)
        tools = [
            set(_plain(f"{spec.server} {re.sub('[_-]', ' ', spec.name)} {spec.description}").split())
            for spec in catalog
        ]
        often = Counter(word for described in tools for word in described)
        self._common = frozenset(word for word, count in often.items() if count >= COMMON)
        self._words = frozenset(self._plain.split())
        self._pieces = self._words.union(*map(_pieces, self._words))
        told = {stem for word in often for stem in stems(word)}
        strange = self._words - often.keys() - FUNCTION_WORDS
        self.own = frozenset(word for word in strange if not set(stems(word)) <= told)

    @cached_property
    def candidates(self) -> list[object]:
        """Values that an argument may be: those that it names, and its own words that begin no sentence, in the order of the
        text."""
        plain = [
            found[0]
            for found in _TOKEN.finditer(self.text)
            if found[0].lower() in self.own
            and stems(found[0])
            and found[0].lower() not in LINKS
            and not re.search(r"(^|[.;!?])\s*$", self.text[: found.start()])
            and not self._describes(found)
        ]
        values = {repr(value): value for value in (*self.values, *plain) if not self._within(value)}.values()
        return sorted(values, key=lambda value: (self.place(value), -len(str(value))))[:MOST_VALUES]

    def _describes(self, word: re.Match[str]) -> bool:
        """The next one: `word` of `the word hello`, `repository` of `the git repository repo`."""
        following = _TOKEN.match(self.text, word.end() + 1)
        next_ = following[0].lower() if following else ""
        article = re.search(r"\b(the|an?)\s+(\w+\s+)?$", self.text[: word.start()], re.IGNORECASE)
        return article is not None and (next_ in self.own or next_ in map(str.lower, self.marked))

    def _within(self, value: object) -> bool:
        """It stands nowhere but within a longer one, or a word."""
        place = self.place(value)
        return place < 0 or any(start <= place < end and whole != value for whole, start, end in self._wholes)

    @cached_property
    def _wholes(self) -> list[tuple[str, int, int]]:
        places = [(whole, self.place(whole)) for whole in self.marked]
        return [(whole, start, start + len(whole)) for whole, start in places if start >= 0]

    def after(self, names: Sequence[str]) -> list[str]:
        """What stands after the last word of a name: `person` of `of type person`."""
        found = re.findall(r"\w[\w'./:@-]*\w|\w|[^\s\w]", self.text)
        return [
            value
            for name, value in pairwise(found)
            if names and stems(name)[-1:] == list(names[-1:]) and value[0].isalnum() and self._tells(value)
        ]

    def is_name(self, place: int) -> bool:
        """What stands there is called so: `named`."""
        before = _TOKEN.findall(self.text[:place])[-1:]
        return bool(before) and before[0].lower() in LINKS

    def together(self, value: object) -> list[str]:
        """The values that stand with it, such as `b` and `c` with `a` in `a, b and c`; it comes first."""
        found = [str(value)]
        end = self.place(value) + len(found[0])
        tokens = list(_TOKEN.finditer(self.text, end))
        others = {str(one) for one in self.candidates}
        for token in tokens:
            between = self.text[end : token.start()]
            if token[0].lower() == "and" and between.strip() in {"", ","}:
                continue
            if token[0] not in others or not re.fullmatch(r"\s*(,|,?\s*and)\s*", between):
                break
            found.append(token[0])
            end = token.end()
        return found

    def _tells(self, word: str) -> bool:
        return bool(stems(word)) and word.lower() not in FUNCTION_WORDS

    def before(self, place: int) -> list[str]:
        """The stems of the words that stand before, the last first, back to another value; dull words as they are, without
        those that link."""
        found = []
        for word in reversed(_TOKEN.findall(self.text[:place])):
            if word.lower() in self.own or word in self.marked:
                break
            if word.lower() not in LINKS:
                found.append((stems(word) or [word.lower()])[0])
        return found

    def place(self, value: object) -> int:
        """Where it stands, as a word of its own, or else as a part of one such as a path; -1: nowhere."""
        said = str(value)
        if said not in self._places:
            text = re.escape(said)
            found = re.search(rf"(?<![\w/.-]){text}(?![\w/-])", self.text) or re.search(
                rf"(?<!\w){text}(?!\w)", self.text
            )
            self._places[said] = found.start() if found else -1
        return self._places[said]

    def _has(self, word: str) -> bool:
        """Also where it is put together of what is said: `folder/name.txt`."""
        return word in self._words or all(part in self._pieces for part in _pieces(word))

    def says(self, value: object) -> bool:
        """Every word of a text or one of the request's own, every item of a list. What says little, as true or null,
        counts as said."""
        if isinstance(value, str):
            words = _plain(value).split()
            if any(word in self.own for word in words):
                return True
            return all(self._has(word) for word in words) and not self._common.issuperset(words)
        if isinstance(value, bool) or value is None:
            return True
        if isinstance(value, int | float):
            return f"{value:g}" in self._plain
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return all(self.says(part) for part in parts)


def ungrounded(workflow: Workflow, catalog: Catalog, request: Request) -> Iterator[Problem]:
    """Arguments of calls whose literal is a text or number that neither the request says nor the tool's schema lists."""
    for node in workflow.nodes:
        for place, call in calls(node):
            spec = catalog.get(call.tool)
            for name, argument in sorted(call.arguments.items()):
                if not isinstance(argument, Literal) or spec is None:
                    continue
                schema = property_schema(spec.input_schema, name) or {}
                listed = "enum" in schema or "const" in schema or argument.value == schema.get("default", ...)
                if listed or request.says(argument.value):
                    continue
                where = f"{place}.arguments.{name}" if place else f"arguments.{name}"
                expected = f"{named_types(schema)} that the request says, or a result"
                yield Problem("ungrounded", node.id, where, expected, repr(argument.value)[:80])


def literals(request: str) -> list[object]:
    """Values that a request names: what it quotes, what follows a colon to the end of the sentence, numbers, and words
    that are no plain words (paths, names with digits or signs)."""
    found: list[object] = [*_marked(request)]
    found += re.findall(r"(?<=[a-z,] )[A-Z]\w*", request)
    found += [float(text) if "." in text else int(text) for text in _NUMBER.findall(request)]
    return list({repr(value): value for value in found}.values())


def _marked(request: str) -> list[str]:
    """What it quotes, what follows a colon, and words with signs or digits."""
    found = [next(filter(None, groups)) for groups in _QUOTED.findall(request)]
    tails = re.findall(r": ([^:?]+?)\.?$", request.strip())
    found += [tail.strip() for tail in tails if len(tail.split()) <= LONGEST]
    return found + [token for token in _TOKEN.findall(request) if re.search(r"[./\d_@*~-]", token)]


def _pieces(word: str) -> list[str]:
    return [part for part in re.split(r"[^\w.-]+", word) if part]


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w./:@+-]*\w", text.lower()))
