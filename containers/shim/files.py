"""Wiping and reading trees that untrusted code has made: no links followed, no recursion, everything
capped."""

import os
import stat

EXPORT_BYTES = 64 << 20
COVERAGE_BYTES = 16 << 20
MAX_FILES = 20_000
MAX_DEPTH = 32
MAX_NAME = 1024


def wipe(top: str) -> None:
    """Remove everything below `top`, however deep or oddly permitted, without following a link."""
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    mark, count = f".wipe-{os.urandom(8).hex()}-", 0
    try:
        while names := os.listdir(here):
            for name in names:
                if _unlink(name, here):
                    continue
                os.chmod(name, 0o700, dir_fd=here)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                try:
                    for child in os.listdir(below):
                        if not _unlink(child, below):
                            os.chmod(child, 0o700, dir_fd=below)
                            count += 1
                            os.rename(child, f"{mark}{count}", src_dir_fd=below, dst_dir_fd=here)
                finally:
                    os.close(below)
                os.rmdir(name, dir_fd=here)
        for attribute in os.listxattr(here):
            if attribute.startswith("user."):
                os.removexattr(here, attribute)
    except NotADirectoryError:
        pass
    finally:
        os.close(here)


def _unlink(name: str, folder: int) -> bool:
    """True when `name` is gone; False when it is a directory (then a full one)."""
    try:
        os.unlink(name, dir_fd=folder)
        return True
    except IsADirectoryError:
        pass
    try:
        os.rmdir(name, dir_fd=folder)
        return True
    except OSError:
        return False


def listing(top: str, cap: int) -> tuple[list[tuple[str, int]], bool]:
    """Regular files below `top` with their sizes, `cap` bytes at most; links and special files are not among them.
    True beside it when anything was left out for size. Nobody may write meanwhile."""
    found: list[tuple[str, int]] = []
    left, truncated = cap, False
    folders = [("", 0)]
    while folders:
        relative, depth = folders.pop()
        with os.scandir(os.path.join(top, relative)) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
        for entry in here:
            name = os.path.join(relative, entry.name)
            info = entry.stat(follow_symlinks=False)
            if len(os.fsencode(name)) > MAX_NAME:
                truncated = True
            elif stat.S_ISDIR(info.st_mode):
                if depth >= MAX_DEPTH:
                    truncated = True
                    continue
                os.chmod(entry.path, 0o700)
                folders.append((name, depth + 1))
            elif stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                if info.st_size > left or len(found) >= MAX_FILES:
                    truncated = True
                    continue
                found.append((name, info.st_size))
                left -= info.st_size
    return found, truncated


def send(path: str, size: int, pipe: int) -> None:
    """The first `size` bytes of a file that has them."""
    os.chmod(path, 0o600)
    reader = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        while size > 0:
            sent = os.sendfile(pipe, reader, None, size)
            if sent == 0:
                raise OSError(f"{path} is shorter than it was")
            size -= sent
    finally:
        os.close(reader)
