"""What the comparing checks keep of a replay, when its files are gone."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evidence.cases import CaseContent, RecordedCall
from trial.gateway import wire
from trial.plan import Job
from trial.replay import Replay
from trial.report import Arm, Outcome, Split, Trial
from trial.shape import client_calls, offered_tools, shape_of, used_tokens, words_of


@dataclass(frozen=True)
class Observation:
    case_id: str
    split: Split
    arm: Arm
    outcome: Outcome
    answered: bool
    """With a status of 2xx: a turn that broke down did not reach what came after."""
    latency: float
    own_seconds: float
    """The turn's time without waiting for models and tools."""
    hooks: frozenset[tuple[str, str]]
    """(point, name)"""
    hooks_before: frozenset[tuple[str, str]]
    """Those that were asked before the deed."""
    kinds: frozenset[str]
    reached: frozenset[str]
    """Points of a turn that the *gateway* saw reached, and `turn` itself."""
    denied: bool
    ready: float
    """Seconds until the service listened."""
    shape: frozenset[str]
    """The form of the reply, without its words: `trial.shape`."""
    words: Mapping[str, frozenset[str]]
    """What it says beside the answer: `trial.shape`."""
    calls: int
    """What the turn asked of models and tools, answered or not."""
    answered_calls: Mapping[str, int]
    """The same thing asked, and how often it was answered."""
    asked: frozenset[str]
    """Names of what was asked of models, beside the messages."""
    models: frozenset[str]
    """Names of the models that were asked."""
    asked_bytes: int
    """Of all that was asked of models."""
    for_client: frozenset[str]
    """Tools that the reply asks its client to call."""
    offered: frozenset[str]
    """Tools that the client says it has."""
    charged: int
    """Tokens that the reply says were used."""
    spent: int
    """Tokens that models said were used, as the gateway saw it, over the whole replay."""
    size: int
    """Bytes of what was asked and answered: no tokenizer makes more tokens of it."""


def observe(job: Job, replay: Replay, trial: Trial) -> Observation:
    hooks = [event for event in replay.events if event.get("kind") == "hook"]
    own = [call for call in own_calls(job.case, replay) if "#" not in call.target]
    prompts = [call.request for call in own if call.kind == "model" and isinstance(call.request, dict)]
    return Observation(
        case_id=job.case.id,
        split=job.split,
        arm=job.arm,
        outcome=trial.outcome,
        answered=replay.turn.status is not None and 200 <= replay.turn.status < 300,
        latency=replay.turn.latency,
        own_seconds=own_seconds(job.case, replay),
        hooks=_named_hooks(hooks),
        hooks_before=_named_hooks(hook for hook in hooks if hook.get("phase") == "before"),
        kinds=frozenset(str(event.get("kind")) for event in replay.events),
        reached=frozenset({"turn", *(call.kind for call in replay.calls if "#" not in call.target)}),
        denied=any(hook.get("decision") == "deny" for hook in hooks),
        ready=replay.ready_seconds,
        shape=shape_of(replay.turn, job.case.turn.session),
        words=words_of(replay.turn, job.case.turn.session),
        calls=len(own),
        answered_calls=Counter(call.key for call in own if call.status == 200),
        asked=frozenset(str(name) for request in prompts for name in request),
        models=frozenset(str(r["model"]) for r in prompts if r.get("model")),
        asked_bytes=sum(map(_size, prompts)),
        for_client=client_calls(replay.turn.reply),
        offered=offered_tools(job.case.turn.body),
        charged=used_tokens(replay.turn.reply),
        spent=sum(_spent(call) for call in replay.calls if call.kind == "model"),
        size=_size([turn.body for turn in (*job.case.prelude, job.case.turn)]) + _size(replay.turn.reply),
    )


def _spent(call: RecordedCall) -> int:
    """Tokens of one call of a model; its bytes, where the model does not say."""
    frames = wire.frames_of(call.response)
    answer = call.response if frames is None else [frame.get("data") for frame in frames]
    return used_tokens(answer) or _size(call.request) + _size(answer)


def _size(value: object) -> int:
    try:
        return len(json.dumps(value))
    except (ValueError, RecursionError):
        return 0


def _named_hooks(hooks: Iterable[Mapping[str, object]]) -> frozenset[tuple[str, str]]:
    return frozenset((str(hook.get("point")), str(hook.get("name"))) for hook in hooks)


def own_calls(case: CaseContent, replay: Replay) -> list[RecordedCall]:
    """Calls of the case's own turn: those of its prelude name their turns."""
    earlier = {turn.request_id for turn in case.prelude} - {case.turn.request_id}
    return [call for call in replay.calls if call.request_id not in earlier]


def own_seconds(case: CaseContent, replay: Replay) -> float:
    """Latency of the case's own turn less the longest chain of calls that followed one another.

    Calls carry orders, not times: that chain is waiting for certain, and both arms are measured alike.
    """
    calls = sorted(own_calls(case, replay), key=lambda call: call.end_order)
    best: list[float] = []
    for position, call in enumerate(calls):
        before = [best[i] for i in range(position) if calls[i].end_order < call.start_order]
        best.append(call.latency + max(before, default=0.0))
    return max(0.0, replay.turn.latency - max(best, default=0.0))
