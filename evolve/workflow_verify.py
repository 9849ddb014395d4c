"""Whether a task is done: told from the answer, the calls that worked, the files and a command, and never from words."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from evolve.errors import BadInput
from evolve.workflow_task import CallCheck, FileCheck, Verify
from workflows.calling import Outcome, ToolRequest
from workflows.verify import is_call, stands_in

SECONDS = 60.0
"""A command that takes longer has failed."""
LARGEST = 16 << 20
"""A larger file holds nothing that was expected."""
Calls = Sequence[tuple[ToolRequest, Outcome]]


class Verdict(NamedTuple):
    share: float
    """Of what was asked for."""
    complaints: tuple[str, ...]
    """About the rest, each in a line."""


async def verified(verify: Verify, answer: str | None, calls: Calls, folder: Path) -> Verdict:
    """Raises BadInput: the command can't be started."""
    worked = [(request, outcome.value) for request, outcome in calls if outcome.error is None]
    found = [
        *_answer(verify.answer, answer or "", [value for _, value in worked]),
        *(_call(call, [request for request, _ in worked]) for call in verify.calls),
        *(_file(name, check, folder / name) for name, check in sorted(verify.files.items())),
    ]
    if verify.command is not None:
        found.append(await _command(verify.command, answer or "", folder))
    complaints = tuple(complaint for complaint in found if complaint is not None)
    return Verdict(1 - len(complaints) / len(found), complaints)


def _answer(wanted: Sequence[str], answer: str, values: Sequence[object]) -> Iterator[str | None]:
    seen = [text for value in values for text in _texts(value)]
    for text in wanted:
        if not stands_in(text, answer):
            yield f"the answer lacks {text!r}"
        elif not any(stands_in(text, one) for one in seen):
            yield f"no call returned {text!r}"
        else:
            yield None


def _texts(value: object) -> Iterator[str]:
    """All that a result says: as a whole, and each text in it as it is."""
    yield value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for part in inner:
        yield from _texts(part)


def _call(wanted: CallCheck, made: Sequence[ToolRequest]) -> str | None:
    if any(is_call(request, wanted.tool, wanted.arguments) for request in made):
        return None
    return f"{wanted.tool} was not called as it has to be"


def _file(name: str, wanted: FileCheck, path: Path) -> str | None:
    if wanted.gone:
        return f"{name}: still there" if os.path.lexists(path) else None
    try:
        text = path.read_bytes().decode() if path.stat().st_size <= LARGEST else ""
    except (OSError, UnicodeDecodeError):
        return f"{name}: no text can be read there"
    if wanted.equals is not None:
        return None if text == wanted.equals else f"{name}: holds something else"
    lost = [part for part in wanted.contains or () if not stands_in(part, text)]
    return f"{name}: without {', '.join(map(repr, lost))}" if lost else None


async def _command(argv: Sequence[str], answer: str, folder: Path) -> str | None:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise BadInput(f"command {argv[0]!r}: {error.strerror or error}") from None
    try:
        async with asyncio.timeout(SECONDS):
            await process.communicate(answer.encode())
    except TimeoutError:
        return f"{argv[0]} took longer than {SECONDS:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return None if process.returncode == 0 else f"{argv[0]} ended with {process.returncode}"
