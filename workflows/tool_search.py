"""Which tools of a catalog a few words are about."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from workflows.catalog import Catalog, ToolSpec

K1 = 1.2
"""BM25: how soon a word that comes again counts for no more."""
B = 0.5
"""BM25: how much a long description counts against a tool."""
NAME_WEIGHT, ARGUMENT_WEIGHT = 4, 1
"""As how many words of a description a word of the name counts, and one of an argument's name."""
MOST_WORDS = 400
"""Of a description that are looked at, each once: nobody gets found by writing a book, or a word again and again."""
MOST_TOOLS = 4096
"""Whose words are kept."""
_WORD = re.compile(r"\d+|[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CLAUSE = re.compile(r"[.,;?!](?:\s|$)|\b(?:and|then)\b")
_DULL = re.compile(
    "an?|and|are|as|at|be|by|can|for|from|if|in|into|is|its?|of|on|or|that|the|this|to|with|you"
)


def search(catalog: Catalog, text: str, limit: int = 10) -> list[ToolSpec]:
    """The tools that share a word with `text`, the best first, ties by key. Words are those of the tool's and its
    server's name, its description and its arguments' names; `readFile`, `read_file` and "reading files" share them."""
    found = sorted(relevance(catalog, text).items(), key=lambda pair: (-pair[1], pair[0]))
    return [catalog.tools[key] for key, _ in found[: max(limit, 0)]]


def relevance(catalog: Catalog, text: str) -> dict[str, float]:
    """How much each tool that shares a word with `text` is about it; only of use beside one another."""
    specs = list(catalog)
    documents = [_document(spec) for spec in specs]
    frequency = Counter(word for document in documents for word in document)
    average = sum(sum(document.values()) for document in documents) / max(len(documents), 1)
    asked = [word for word in dict.fromkeys(words(text)) if word in frequency]
    scored = (
        (spec.key, _score(document, asked, frequency, len(specs), average))
        for spec, document in zip(specs, documents, strict=True)
    )
    return {key: score for key, score in scored if score > 0}


def relevance_by_clause(catalog: Catalog, text: str) -> dict[str, float]:
    """From 0 to 1: the mean of how well a tool fits the whole text, beside the best, and the clause that it fits best. What
    one clause of many is about counts as much as what the text repeats."""
    whole = beside_best(relevance(catalog, text))
    parts = [beside_best(relevance(catalog, clause)) for clause in clauses(text)]
    return {key: (score + max(part.get(key, 0.0) for part in parts)) / 2 for key, score in whole.items()}


def clauses(text: str) -> list[str]:
    return [text[start:end] for start, end in clause_spans(text)]


def clause_spans(text: str) -> list[tuple[int, int]]:
    """Where each clause begins and ends."""
    cuts = [(found.start(), found.end()) for found in _CLAUSE.finditer(text)]
    starts, ends = [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(text)]
    return list(zip(starts, ends, strict=True))


def asks(clause: str) -> bool:
    """It does not begin with a dull word, as `In the repository` does: it may tell what to do."""
    first = _WORD.search(clause)
    return first is not None and _DULL.fullmatch(first[0].lower()) is None


def beside_best(scores: dict[str, float]) -> dict[str, float]:
    """As parts of the best one."""
    best = max(scores.values(), default=1.0)
    return {key: score / best for key, score in scores.items()}


def words(text: str) -> list[str]:
    """Lower-case stems, without the dull words."""
    found = (part.lower() for word in _WORD.findall(text) for part in _HUMP.split(word))
    return [_stem(word) for word in found if _DULL.fullmatch(word) is None]


def _document(spec: ToolSpec) -> Mapping[str, int]:
    properties = spec.input_schema.get("properties")
    arguments = " ".join(map(str, properties)) if isinstance(properties, dict) else ""
    return _weights(spec.server, spec.name, spec.description, arguments)


@lru_cache(maxsize=MOST_TOOLS)
def _weights(server: str, name: str, description: str, arguments: str) -> Mapping[str, int]:
    """A catalog is searched again and again, and its tools stay."""
    document = Counter(set(words(description)[:MOST_WORDS]))
    _add(document, words(name), NAME_WEIGHT)
    _add(document, words(server), 1)
    _add(document, set(words(arguments)), ARGUMENT_WEIGHT)
    return document


def _add(document: Counter[str], found: Iterable[str], weight: int) -> None:
    for word in found:
        document[word] += weight


def _score(
    document: Mapping[str, int], asked: list[str], frequency: Counter[str], count: int, average: float
) -> float:
    long = 1 - B + B * sum(document.values()) / average if average else 1.0
    total = 0.0
    for word in asked:
        often = document.get(word, 0)
        if often:
            rare = math.log(1 + (count - frequency[word] + 0.5) / (frequency[word] + 0.5))
            total += rare * often * (K1 + 1) / (often + K1 * long)
    return round(total, 9)


def _stem(word: str) -> str:
    """Only what English puts at the end of a name or a verb: files, reading, queries, created."""
    for ending, instead in (("ies", "y"), ("ing", ""), ("sses", "ss"), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(ending) + instead
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word
