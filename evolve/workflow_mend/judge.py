"""`evolve-check` on a copy of the repository in which one file is another: the only word on whether a workflow is better."""

import asyncio
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class CheckBroken(RuntimeError):
    """The replays can't be had (any more)."""


@dataclass
class Judge:
    """`copy`: a folder of our own that holds the repository's files."""

    copy: Path
    replays: int = 0

    @classmethod
    def of(cls, repository: Path, copy: Path) -> "Judge":
        shutil.copytree(repository, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        return cls(copy)

    async def passing_now(self) -> dict[str, bool]:
        """Case -> whether it passes on the copy as it is. Raises CheckBroken."""
        return await self._ask([])

    async def passing(self, file: str, content: bytes, cases: Iterable[str] = ()) -> dict[str, bool]:
        """Case -> whether it passes with this content; where none is named: all. What the arena broke is left out. Raises
        CheckBroken."""
        target = self.copy / file
        before = target.read_bytes()
        target.write_bytes(content)
        try:
            return await self._ask(list(cases))
        finally:
            target.write_bytes(before)

    async def _ask(self, cases: list[str]) -> dict[str, bool]:
        process = await asyncio.create_subprocess_exec(
            "evolve-check",
            "--json",
            "--tree",
            str(self.copy),
            *cases,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, said = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        try:
            results = json.loads(out)["results"]
        except (ValueError, KeyError):
            raise CheckBroken(said.decode("utf-8", "replace").strip()[-400:] or "no answer") from None
        self.replays += len(results)
        return {one["case"]: one["outcome"] == "pass" for one in results if one["outcome"] != "invalid"}
