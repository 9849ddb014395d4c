"""Asking a coder for an answer instead of an edit: one JSON file, judged by its shape.

A coder that died, wrote nothing or wrote nonsense has not answered; the folder is fresh at every try, so nothing that an
earlier one left can be taken for an answer.
"""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from evolve.coder_call import coder_call
from evolve.coding.protocol import ANSWER_FILE, CodingTask
from evolve.context import RunContext
from evolve.stage import Place
from evolve.stages.models import Asked
from promote.wire import complaint

MAX_ANSWER = 64 * 1024
TRIES = 2

Answer = TypeVar("Answer", bound=BaseModel)


def ask(
    context: RunContext,
    role: str,
    place: Place,
    name: str,
    commit: str | None,
    task: CodingTask,
    prompt: str,
    shape: type[Answer],
    misfit: Callable[[Answer], str] = lambda answer: "",
) -> tuple[Answer | None, Asked]:
    """What coder `name` answers about an export of `commit`; `prompt` is the hash of what it was asked by. `misfit` says
    what is wrong with an answer of the right shape.

    None when it gave no such answer, in two tries; `Asked.trouble` says why. Raises what `coder_call` raises.
    """
    tokens = usd_micros = 0
    for _ in range(TRIES):
        with coder_call(context, role, place, name, commit, task) as called:
            tokens, usd_micros = tokens + called.tokens, usd_micros + called.usd_micros
            answer, trouble = read_answer(called.tree / ANSWER_FILE, shape)
        if answer is not None and (wrong := misfit(answer)):
            answer, trouble = None, f"{ANSWER_FILE}: {wrong}"
        if answer is not None:
            break
    transcript = context.store.blobs.put(called.result.transcript.encode())
    if trouble:
        trouble = f"{name}: {trouble}" + (f" ({called.result.reason})" if called.result.reason else "")
    return answer, Asked(
        coder=name,
        prompt_sha256=prompt,
        prompt_blob=context.store.blobs.put(task.text.encode()),
        tokens=tokens,
        usd_micros=usd_micros,
        transcript_blob=transcript,
        trouble=trouble,
    )


def read_answer(path: Path, shape: type[Answer]) -> tuple[Answer | None, str]:
    """The file as this shape, or None and why not. Follows no link and reads no more than 64 KiB."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None, f"it wrote no {ANSWER_FILE}"
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None, f"{ANSWER_FILE} is no file"
    with open(descriptor, "rb") as file:
        data = file.read(MAX_ANSWER + 1)
    if len(data) > MAX_ANSWER:
        return None, f"{ANSWER_FILE} has more than {MAX_ANSWER >> 10} KiB"
    try:
        return shape.model_validate(json.loads(data)), ""
    except ValidationError as error:
        return None, f"{ANSWER_FILE}: {complaint(error)}"
    except (ValueError, RecursionError):
        return None, f"{ANSWER_FILE} is no JSON"
