"""Entry of PID 1: read the orders, give up privileges, then serve, launch or execute."""

from __future__ import annotations

import binascii
import gc
import importlib
import os
import signal
import sys

from . import boot, child
from .keeper import Keeper

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from typing import Any

_DESCRIPTORS = ("log_fd", "ready_fd", "lifeline_fd", "lock_fd")


def main() -> None:
    config = boot.read_config()
    keep = {config[name] for name in _DESCRIPTORS if config[name] is not None}
    boot.close_strangers(keep)
    for descriptor in keep - {0, 1, 2}:
        os.set_inheritable(descriptor, False)
    env: dict[str, str] = config["env"]
    mode = config["argv"][0]
    if mode == "@serve":
        from .serve import claim_generation, open_lock

        lock = open_lock() if config["opens_lock"] else config["lock_fd"]
        claim_generation(env.get("INSTANCE_EPOCH", ""), lock)
    boot.drop_privileges(config["uid"], config["gid"])
    if config["filter"] is not None:
        boot.put_on(binascii.a2b_base64(config["filter"]))
    keeper = Keeper(
        config["log_fd"], config["log_cap"], config["lifeline_fd"], config["limits"]["wall_seconds"]
    )
    if config["ready_fd"] is not None:
        os.write(config["ready_fd"], b"ready\n")
        os.close(config["ready_fd"])
    if mode in ("@serve", "@launch"):
        _preload(config["preload"])
    if mode == "@serve":
        from .serve import serve

        code = serve(keeper, config, env)
    elif mode == "@launch":
        from .launch import Launcher

        code = Launcher(keeper, config, env).run()
    else:
        code = _execute(keeper, config, env)
    keeper.leave(code)


def _preload(modules: list[str]) -> None:
    """Import dependencies once; the layer alone is on the path, so no line of the tree can run here."""
    sys.path[:] = [child.DEPS, *(entry for entry in sys.path if entry != "/shim")]
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            os.write(2, f"[shim] preload: {error}\n".encode())
    gc.collect()
    gc.freeze()


def _execute(keeper: Keeper, config: dict[str, Any], env: dict[str, str]) -> int:
    interactive = config["interactive"]
    if config["forwards"]:
        from .forward import start

        start(config["forwards"])
    reader, writer = os.pipe()
    keeper.watch_output(reader)
    keeper.start_leader(
        child.spawn(
            config["argv"],
            env,
            config["workdir"],
            config["limits"],
            output=None if interactive else writer,
            errors=writer,
            inherit_stdin=interactive,
        )
    )
    os.close(writer)
    if interactive:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
    while keeper.leader is not None:
        keeper.pump(None)
        if keeper.terminated:
            keeper.terminated = False
            if keeper.leader is not None:
                os.kill(keeper.leader, signal.SIGTERM)
    return keeper.leader_exit if keeper.leader_exit is not None else 1
