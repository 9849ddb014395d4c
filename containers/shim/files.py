"""Wiping and exporting trees that untrusted code has made: no links followed, no recursion, everything
capped."""

import os
import stat

MAX_FILES = 20_000
MAX_DEPTH = 32


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


def export(source: str, target: str, cap: int) -> dict[str, object]:
    """Copy regular files from `source` to the empty `target`. Links and special files are refused and named;
    `truncated` is true when anything was left out for size."""
    refused: list[str] = []
    left, files, truncated = cap, 0, False
    folders = [("", 0)]
    while folders:
        relative, depth = folders.pop()
        with os.scandir(os.path.join(source, relative)) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
        for entry in listing:
            name = os.path.join(relative, entry.name)
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                if depth >= MAX_DEPTH:
                    truncated = True
                    continue
                os.chmod(entry.path, 0o700)
                os.mkdir(os.path.join(target, name))
                folders.append((name, depth + 1))
            elif not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
                refused.append(name)
            elif info.st_size > left or files >= MAX_FILES:
                truncated = True
            else:
                _copy(entry.path, os.path.join(target, name), info.st_size)
                left, files = left - info.st_size, files + 1
    return {"refused": refused[:100], "truncated": truncated}


def _copy(source: str, target: str, size: int) -> None:
    os.chmod(source, 0o600)
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        while size > 0 and (sent := os.sendfile(writer, reader, None, size)):
            size -= sent
    finally:
        os.close(reader)
        os.close(writer)
