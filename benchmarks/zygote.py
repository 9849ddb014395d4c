"""`python zygote.py TREE MODULE PRELOAD,…`: forks the service for each case, with nothing around it. A peer, no sandbox.

It does what the trial launcher does inside a sandbox (preload once, fork, run the module, kill) and leaves out what
isolates: namespaces, mounts, seccomp, another user, limits, wiping. One JSON line in (the environment) forks, and answers
with the process id; an empty line kills, reaps, and answers `0`.
"""

import importlib
import json
import os
import runpy
import signal
import sys


def become(tree: str, module: str, env: dict[str, str]) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(tree)
    sys.path.insert(0, tree)
    sys.argv[:] = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    tree, module, preload = sys.argv[1:]
    for name in filter(None, preload.split(",")):
        importlib.import_module(name)
    pid = 0
    for line in iter(sys.stdin.readline, ""):
        if line.strip():
            pid = os.fork()
            if not pid:
                try:
                    become(tree, module, json.loads(line))
                finally:
                    os._exit(1)
        elif pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pid = 0
        print(pid, flush=True)
    if pid:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
