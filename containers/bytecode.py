"""Compiling a tree's sources, in a sandbox: a source that crashes or bloats the compiler hurts nobody, it just
stays uncompiled."""

import os
import secrets
from pathlib import Path

from containers import prepare
from containers.runtime import InstanceSpec, Limits, Mount, Runtime

_COMPILE = (
    "import compileall, py_compile, sys\n"
    "compileall.compile_dir(sys.argv[1], maxlevels=64, quiet=2, force=True, workers=1,"
    " invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)\n"
)
_LIMITS = Limits(processes=16, memory_bytes=1 << 30, wall_seconds=600, file_bytes=64 << 20)


def compile_tree(runtime: Runtime, folder: Path, shown_at: str) -> None:
    """Compile every source below `folder` as if it lay at `shown_at`."""
    spec = InstanceSpec(
        name=f"compile-{secrets.token_hex(6)}",
        role="grader",
        argv=("python", "-I", "-S", "-c", _COMPILE, shown_at),
        mounts=(Mount(folder, shown_at, writable=True),),
        labels={"role": "compile"},
        limits=_LIMITS,
        workdir="/",
    )
    instance = runtime.start(None, spec)
    try:
        instance.wait(_LIMITS.wall_seconds or 600)
    finally:
        runtime.kill(instance)
        runtime.remove(instance)
    if os.geteuid() == 0:
        prepare.own_tree(folder, 0)
