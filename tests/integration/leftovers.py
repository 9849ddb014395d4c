"""What a product that was killed may not leave behind: processes, mounts, sandboxes, temporary files, held locks."""

import time
from collections.abc import Iterator
from pathlib import Path

from evolve.product import Product
from evolve.runs import run_lock

GONE_SECONDS = 20.0


def processes_of(folder: Path) -> list[str]:
    """Whoever has to do with a folder: by arguments, environment, or the mounts of its namespace. Zombies have none."""
    needle = str(folder).encode()
    return [
        f"{entry.name}: {_read(entry / 'cmdline').replace(bytes(1), b' ').decode(errors='replace')[:200]}"
        for entry in Path("/proc").glob("[0-9]*")
        if any(needle in _read(entry / name) for name in ("cmdline", "environ", "mountinfo"))
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def lasting_processes(folder: Path) -> list[str]:
    """Those that are still there after a while: what dies with its killed parent takes a moment."""
    end = time.monotonic() + GONE_SECONDS
    while (found := processes_of(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def leftovers(home: Path, temporary: Path) -> list[str]:
    """Of a home where nothing runs; `temporary` was its commands' TMPDIR."""
    found = [f"process {one}" for one in lasting_processes(home)]
    found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if str(home) in line]
    found += [f"temporary {path.name}" for path in temporary.iterdir()]
    with Product.open(home) as product:
        found += [f"sandbox {instance.name}" for instance in product.runtime.find({})]
    for folder in (home / "runs").iterdir():
        with run_lock(folder):  # raises where somebody still holds it
            pass
    return found


def tree(home: Path) -> Iterator[str]:
    """Every folder and file in which a run works."""
    for top in ("run", "runs"):
        for path in sorted((home / top).rglob("*")):
            yield str(path.relative_to(home))
