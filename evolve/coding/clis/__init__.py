"""The coding CLIs that are known, one a module: how each is started, and what its output says. Pure functions."""

from evolve.coding.clis.adapter import Adapter
from evolve.coding.clis.aider import AIDER
from evolve.coding.clis.claude_code import CLAUDE_CODE
from evolve.coding.clis.codex import CODEX
from evolve.coding.clis.gemini_cli import GEMINI_CLI
from evolve.coding.clis.mini_swe_agent import MINI_SWE_AGENT
from evolve.coding.clis.opencode import OPENCODE
from evolve.coding.clis.qwen_code import QWEN_CODE

KNOWN = (CLAUDE_CODE, CODEX, OPENCODE, AIDER, MINI_SWE_AGENT, GEMINI_CLI, QWEN_CODE)

ADAPTERS: dict[str, Adapter] = {adapter.kind: adapter for adapter in KNOWN}
"""By `kind` in [coders.NAME]."""
