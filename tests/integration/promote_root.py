"""A composition root for tests: the real promoter with a shorter bake. The product has no such setting."""

import argparse
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import evidence.ledger
import promote.accept
import promote.journal
import promote.parts
import promote.policy
import promote.rollback
from evidence.canonical import utcnow
from promote.bake import BakeRules
from promote.promoter import BakeFloor, run

_FORMAT = "%(asctime)s %(name)s %(levelname)s %(message)s"


def serve(path: Path) -> int:
    logging.basicConfig(level=logging.INFO, format=_FORMAT)
    return run(path, BakeFloor(seconds=0.3, turns=5), BakeRules())


def fork(path: Path, log: Path, days: int, env: Mapping[str, str]) -> BaseProcess:
    """A promoter without the second that its imports take, on a machine whose clock is `days` off."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "promote_root"])
    process = context.Process(target=_serve_forked, args=(path, log, days, dict(env)))
    process.start()
    return process


def _serve_forked(path: Path, log: Path, days: int, env: dict[str, str]) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(env)

    def shifted() -> datetime:
        return utcnow() + timedelta(days=days)

    ours = (promote.accept, promote.journal, promote.parts, promote.policy, promote.rollback)
    for module in (evidence.ledger, *ours):
        module.utcnow = shifted  # type: ignore[attr-defined]
    sys.exit(serve(path))


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


if "FAKETIME_TIMESTAMP_FILE" in os.environ:
    time.sleep = _sleep  # libfaketime 0.9.10 calls a sleep until an absolute moment, as Python's is, invalid

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    sys.exit(serve(parser.parse_args().config))
