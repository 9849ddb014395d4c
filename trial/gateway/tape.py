"""One case's cassette as it is played: which recorded call answers a request. Pure, single-threaded."""

from collections import Counter
from collections.abc import Iterator

from evidence.canonical import digest
from evidence.cases import CallKind, Cassette, RecordedCall
from trial.gateway import rpc


class Tape:
    """Every recorded call answers once. Equal requests are answered in recorded order, those of the same
    turn first: a prelude that lost turns to minimisation must not hand their answers to other turns."""

    def __init__(self, cassette: Cassette) -> None:
        self._catalog = cassette.catalog
        calls = sorted(cassette.calls, key=lambda call: call.start_order)
        self._by_key: dict[str, list[RecordedCall]] = {}
        self._by_target: dict[tuple[str, str], list[RecordedCall]] = {}
        for call in calls:
            self._by_key.setdefault(call.key, []).append(call)
            self._by_target.setdefault((call.kind, call.target), []).append(call)
        self._used: set[int] = set()

    @property
    def servers(self) -> list[str]:
        """Every tool server that the recording knows."""
        called = (target for kind, target in self._by_target if kind == "tool")
        return sorted({*self._catalog, *(_server_of(target) for target in called)})

    def discovered(self, server: str, message: rpc.Message) -> dict[str, object] | None:
        """What discovery answered, as often as it is asked."""
        known = self._catalog.get(server)
        if message.method in rpc.DISCOVERY and isinstance(known, dict):
            key = rpc.catalog_key(message)
            if key in known:
                return {"result": known[key]}
        return None

    def take(self, kind: CallKind, target: str, request: object, request_id: str) -> RecordedCall | None:
        """The recorded answer to exactly this request; each is given once, but discovery again and again."""
        same = self._by_key.get(digest([kind, target, request]), [])
        fresh = [call for call in same if id(call) not in self._used]
        own = [call for call in fresh if call.request_id == request_id]
        if chosen := next(iter(own or fresh), None):
            self._used.add(id(chosen))
            return chosen
        if same and kind == "tool" and target.partition("#")[2] in rpc.DISCOVERY:
            return same[-1]
        return None

    def nearest(self, kind: CallKind, target: str, request: object) -> RecordedCall | None:
        """The most similar recorded call of the same kind and target, unused ones first."""
        pool = self._by_target.get((kind, target), [])
        fresh = [call for call in pool if id(call) not in self._used] or pool
        if not fresh:
            return None
        wanted = Counter(_leaves(request))
        chosen = max(
            fresh, key=lambda call: (_overlap(wanted, Counter(_leaves(call.request))), -call.start_order)
        )
        self._used.add(id(chosen))
        return chosen


def _server_of(target: str) -> str:
    return target.partition("#")[0].partition("/")[0]


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}/{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}/*")
    else:
        yield path, repr(value)


def _overlap(left: "Counter[tuple[str, str]]", right: "Counter[tuple[str, str]]") -> float:
    """Jaccard similarity of two bags of leaves."""
    union = (left | right).total()
    return (left & right).total() / union if union else 1.0
