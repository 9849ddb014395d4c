"""Asking the judge: as any coder is asked for an answer, but in an empty repository and without `evolve-check`, for with
either it could find out which reply is the baseline's."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import BaseModel

from evolve import prompts
from evolve.asking import ask
from evolve.coder_call import CoderUnreachable
from evolve.coding.protocol import CodingTask
from evolve.context import RunContext
from evolve.stage import Place
from evolve.stages.models import Asked

Answer = TypeVar("Answer", bound=BaseModel)


def ask_judge(
    context: RunContext,
    role: str,
    place: Place,
    shown: Mapping[str, str],
    shape: type[Answer],
    misfit: Callable[[Answer], str],
) -> tuple[Answer | None, Asked | None, str]:
    """Its answer, the call, and why there is no answer. A judge that can't be asked stops no run: it decides nothing.

    Raises OutOfBudget, Stopped, and RuntimeBroken when the sandbox failed.
    """
    text, prompt = prompts.fill(role, service=context.manifest.name)
    task = CodingTask(text=text, files=shown, seed=context.seed, answers=True)
    judge = context.settings.run.judge
    try:
        answer, asked = ask(context, role, place, judge, None, task, prompt, shape, misfit)
    except CoderUnreachable as error:
        return None, None, str(error)
    return answer, asked, asked.trouble
