"""The substrate's repository: the only module that touches git.

Candidates become commits made from the bytes of a directory (`hash-object --no-filters` into an index of our own), so
that no attribute, filter, hook or ignore file that a candidate wrote has a say in what is committed. `main` moves only
at COMMITTED. GitPython has a history of option injection, so every argument here is a constant, a hash or a path that
we made; repository configuration of the host is switched off.
"""

import hashlib
import os
import re
import stat
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from git import Git, GitCommandError, GitError, Repo

from evolve.errors import BadInput, Broken
from evolve.tree_files import tree_files

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "evolve",
    "GIT_AUTHOR_EMAIL": "evolve@localhost",
    "GIT_COMMITTER_NAME": "evolve",
    "GIT_COMMITTER_EMAIL": "evolve@localhost",
}

_LONE_RETURN = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True)
class Change:
    """One path that differs between two commits. Modes are git's (`100644`, `120000`, `160000`; `000000` is absent)."""

    path: str
    status: str
    old_mode: str
    new_mode: str
    added: int
    removed: int
    binary: bool
    size: int
    lone_returns: bool = False
    """A carriage return without a newline stands in it: a line's end to an interpreter, and none to git."""


def _git(directory: Path) -> Git:
    git = Git(str(directory))
    git.update_environment(**_ENVIRONMENT)
    return git


def create_repository(path: Path, tree: Path, message: str) -> str:
    """A new repository whose `main` is one commit with exactly the files of `tree`; returns the commit."""
    if path.exists() and any(path.iterdir()):
        raise BadInput(f"{path}: not empty", hint="name a new folder")
    path.mkdir(parents=True, exist_ok=True)
    _git(path).init("--quiet", "--initial-branch=main")
    commit = commit_directory(path, tree, parent=None, message=message)
    move_main(path, commit, expected=None)
    return commit


def head(repository: Path) -> str:
    """The commit that `main` names. Raises Broken when there is none."""
    try:
        return str(_git(repository).rev_parse("--verify", "--quiet", "refs/heads/main^{commit}"))
    except GitCommandError:
        raise Broken(f"{repository}: no branch main", hint="`evolve init` makes the repository") from None


def is_dirty(repository: Path) -> bool:
    """Whether the checkout differs from `main`, untracked files included."""
    repo = Repo(repository)
    try:
        return bool(repo.is_dirty(untracked_files=True))
    finally:
        repo.close()


def commit_directory(repository: Path, tree: Path, parent: str | None, message: str) -> str:
    """Commit the regular files, links and modes of `tree`, byte for byte; returns the new commit, moves no branch.

    Links are committed as links (for the guard to see and refuse); `.git`, and names that git takes for it, are left out.
    Raises BadInput for what can't be committed.
    """
    # Beside the tree: whoever made that clears it away, should this process be killed.
    with tempfile.TemporaryDirectory(dir=tree.parent) as scratch:
        git = _git(repository)
        git.update_environment(GIT_INDEX_FILE=str(Path(scratch) / "index"))
        listing = Path(scratch) / "listing"
        listing.write_bytes(_listing(git, tree, Path(scratch)))
        with listing.open("rb") as stream:
            git.update_index("-z", "--index-info", istream=stream)
        tree_id = git.write_tree()
        parents = ["-p", parent] if parent else []
        return str(git.commit_tree(tree_id, *parents, "-m", message))


def _listing(git: Git, tree: Path, scratch: Path) -> bytes:
    """Every file as git's index takes it. What a link holds is hashed from a file of ours."""
    files = tree_files(tree)
    sources, modes = [], []
    for number, path in enumerate(files.values()):
        if path.is_symlink():
            path, target = scratch / f"link-{number}", os.readlink(path)
            path.write_bytes(os.fsencode(target))
            modes.append("120000")
        else:
            modes.append("100755" if path.stat().st_mode & stat.S_IXUSR else "100644")
        sources.append(f"{path}\n")
    paths = scratch / "paths"
    paths.write_text("".join(sources), encoding="utf-8")
    with paths.open("rb") as stream:
        hashes = str(git.hash_object("-w", "--no-filters", "--stdin-paths", istream=stream)).split()
    rows = zip(modes, hashes, files, strict=True)
    return "".join(f"{mode} {found}\t{name}\0" for mode, found, name in rows).encode()


def export_tree(repository: Path, commit: str, target: Path) -> None:
    """Write the commit's files into the new or empty directory `target`; no history goes along.

    From the objects themselves, not `git archive`: that would let the tree's own attributes drop or rewrite files.
    Links and submodules are left out; the guard refuses them before anything is built.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name, (mode, data) in _objects(repository, commit).items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if mode == "100755" else 0o644)


def _objects(repository: Path, commit: str) -> dict[str, tuple[str, bytes]]:
    """The regular files of a commit: path -> (mode, bytes)."""
    git = _git(repository)
    found = {}
    try:
        for entry in git.ls_tree("-r", "-z", "--full-tree", commit).split("\0"):
            meta, _, name = entry.partition("\t")
            if meta.startswith("100"):
                mode, _, blob = meta.split(" ")
                found[name] = (mode, git.get_object_data(blob)[3])
    finally:
        git.clear_cache()
    return found


def read_files(repository: Path, commit: str, prefix: str) -> dict[str, bytes]:
    """The regular files of a commit below a prefix: path -> bytes. Raises Broken when the commit can't be read."""
    try:
        files = _objects(repository, commit)
    except (GitError, OSError, ValueError) as error:
        raise Broken(f"{repository}: commit {commit} can't be read ({type(error).__name__})") from None
    return {name: data for name, (_, data) in files.items() if name.startswith(prefix)}


def export_for_coder(repository: Path, commit: str | None, target: Path) -> None:
    """As `export_tree`, then a fresh one-commit repository in it: nothing of the future can be read from history. Of no
    commit, an empty one."""
    if commit is None:
        target.mkdir(parents=True)
    else:
        export_tree(repository, commit, target)
    git = _git(target)
    git.init("--quiet", "--initial-branch=main")
    git.update_ref("refs/heads/main", commit_directory(target, target, None, "baseline"))
    git.reset("--quiet", "--mixed")


def changes(repository: Path, base: str, commit: str) -> list[Change]:
    """Every path that differs, judged from git objects; renames are a removal and an addition."""
    git = _git(repository)
    options = ("-r", "-z", "--no-renames", "--no-ext-diff", "--no-textconv")
    raw = git.diff_tree(*options, "--raw", "--no-abbrev", base, commit).split("\0")
    numbers = {}
    for line in git.diff_tree(*options, "--numstat", base, commit).split("\0"):
        if line:
            added, removed, path = line.split("\t", 2)
            numbers[path] = (added, removed)
    found = []
    try:
        for meta, path in zip(raw[0::2], raw[1::2], strict=False):
            old_mode, new_mode, _, new_id, status = meta.lstrip(":").split(" ")
            added, removed = numbers.get(path, ("0", "0"))
            blob = new_mode.startswith("1") and new_mode != "160000"
            size = int(git.cat_file("-s", new_id)) if blob else 0
            binary = added == "-"
            counts = (0, 0) if binary else (int(added), int(removed))
            lone = blob and not binary and bool(_LONE_RETURN.search(git.get_object_data(new_id)[3]))
            found.append(Change(path, status, old_mode, new_mode, *counts, binary, size, lone))
    finally:
        git.clear_cache()
    return found


def has_commits(repository: Path, *commits: str) -> bool:
    """Whether there is a repository at all, and it holds every one of these."""
    try:
        for commit in commits:
            _git(repository).rev_parse("--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    except (GitCommandError, OSError):
        return False
    return True


def change_counts(repository: Path, commit: str, last: int) -> Counter[str]:
    """In how many of the `last` commits up to `commit` each path changed; being made counts too."""
    names = _git(repository).log(
        "-z", "--format=", "--name-only", "--no-renames", "--no-ext-diff", f"--max-count={int(last)}", commit
    )
    return Counter(name.strip("\n") for name in names.split("\0") if name.strip("\n"))


def merge(repository: Path, base: str, ours: str, theirs: str, message: str) -> str | None:
    """A commit on `base` with the changes of two others on it; None when they conflict. Nothing is checked out."""
    git = _git(repository)
    try:
        tree = str(git.merge_tree("--write-tree", "--no-messages", ours, theirs)).strip()
    except GitCommandError as error:
        if error.status == 1:
            return None
        raise
    return str(git.commit_tree(tree, "-p", base, "-m", message))


def diff(repository: Path, base: str, commit: str) -> bytes:
    """A unified diff for people, in whatever encodings its files are. Never judged by."""
    options = ("-p", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
    text = bytes(_git(repository).diff_tree(*options, base, commit, stdout_as_string=False))
    return text + b"\n" if text else b""


def diff_sha256(repository: Path, base: str, commit: str) -> str:
    """Hash of the diff, as bound into a candidate and recomputed by the promoter from its bundle."""
    return "sha256:" + hashlib.sha256(diff(repository, base, commit)).hexdigest()


def keep(repository: Path, candidate_id: str, commit: str) -> None:
    """Hold a candidate's commit against garbage collection under `refs/candidates/`."""
    _git(repository).update_ref(f"refs/candidates/{candidate_id}", commit)


def move_main(repository: Path, commit: str, expected: str | None) -> None:
    """Point `main` at `commit` if it is still at `expected`, and lay the checkout out anew."""
    git = _git(repository)
    try:
        git.update_ref("refs/heads/main", commit, expected or "0" * 40)
    except GitCommandError:
        raise Broken(f"{repository}: main moved meanwhile", hint="see `git log main`") from None
    git.reset("--quiet", "--hard", "refs/heads/main")


def commit_promotion(repository: Path, candidate_commit: str, subject: str, trailers: dict[str, str]) -> str:
    """Move `main` by a commit with the candidate's tree and trailers that name what led to it.

    Idempotent: when `main` already carries the same trailers, nothing moves.
    """
    git = _git(repository)
    base = head(repository)
    text = subject + "\n\n" + "".join(f"{name}: {value}\n" for name, value in trailers.items())
    if git.log("-1", "--format=%B", base).strip() == text.strip():
        return base
    tree = git.rev_parse("--verify", f"{candidate_commit}^{{tree}}")
    commit = str(git.commit_tree(tree, "-p", base, "-m", text))
    move_main(repository, commit, expected=base)
    return commit


def export_patch(repository: Path, base: str, commit: str) -> str:
    """A mail-format patch of the candidate for upstream."""
    text = _git(repository).format_patch("--stdout", "--no-renames", "--no-signature", f"{base}..{commit}")
    return str(text) + "\n"


def create_branch(repository: Path, name: str, commit: str) -> None:
    """A branch at the candidate, for upstream. Raises BadInput when the name is taken or no branch name."""
    git = _git(repository)
    try:
        if name.startswith("-"):
            raise GitCommandError("check-ref-format", 1)
        git.check_ref_format(f"refs/heads/{name}")
        git.update_ref(f"refs/heads/{name}", commit, "0" * 40)
    except GitCommandError:
        raise BadInput(f"branch {name!r} exists already or is no branch name") from None
