"""Makes one faulty program in a folder: subject.py, visible.json, and hidden.json outside of it."""

import ast
import importlib
import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.mend_corpus.inputs import draw
from benchmarks.mend_corpus.mutate import mutants

HERE = Path(__file__).parent
VISIBLE, HIDDEN = 24, 80
RECORD = """
import json, sys
sys.path.insert(0, sys.argv[2])
import subject
from check import observe
cases = json.load(open(sys.argv[1]))
json.dump([observe(subject, cases["call"], c["inputs"]) for c in cases["cases"]], sys.stdout)
"""


class NoFault(Exception):
    """No fault of this kind in this function shows on the visible cases."""


@dataclass(frozen=True)
class Program:
    """A folder for the repair tool, and the cases that it is not given."""

    folder: Path
    hidden: Path


def make(entry: dict[str, Any], home: Path) -> Program:
    """Raises NoFault."""
    right, folder = home / "right", home / "program"
    for each in (right, folder):
        each.mkdir()
        shutil.copyfile(HERE / "check.py", each / "check.py")
    original = module_source(entry["module"])
    (right / "subject.py").write_text(original, "utf-8")
    inputs = drawn(entry)
    visible = recorded(entry, inputs[:VISIBLE], right, folder / "visible.json")
    recorded(entry, inputs[VISIBLE:], right, home / "hidden.json")
    for source in mutants(original, entry["function"], entry["kind"], entry["seed"]):
        (folder / "subject.py").write_text(source, "utf-8")
        if not passes(folder, visible):
            return Program(folder, home / "hidden.json")
    raise NoFault(f"{entry['module']}.{entry['function']}: {entry['kind']}")


def module_source(name: str) -> str:
    """The installed module's source, able to stand alone: imports absolute, C doubles of its functions left out."""
    module = importlib.import_module(name)
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    package = name if hasattr(module, "__path__") else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            node.module, node.level = f"{base}.{node.module}" if node.module else base, 0
    body: list[ast.stmt] = []
    for stmt in tree.body:
        if isinstance(stmt, ast.Try) and all(isinstance(s, ast.ImportFrom) for s in stmt.body):
            written = [s for h in stmt.handlers for s in h.body]
            body += written if any(isinstance(s, ast.FunctionDef) for s in written) else []
            star = any(a.name == "*" for s in stmt.body if isinstance(s, ast.ImportFrom) for a in s.names)
            body += (
                []
                if star or written != [w for w in written if isinstance(w, ast.Pass | ast.Assign)]
                else [stmt]
            )
        else:
            body.append(stmt)
    tree.body = body
    return ast.unparse(tree) + "\n"


def drawn(entry: dict[str, Any]) -> list[list[Any]]:
    """Different inputs, as many as the recipes give within a fair number of draws."""
    rng = random.Random(f"{entry['module']}/{entry['call']}/{entry['seed']}")
    found: dict[str, list[Any]] = {}
    for _ in range(20 * (VISIBLE + HIDDEN)):
        values = [draw(recipe, rng) for recipe in entry["inputs"]]
        found.setdefault(json.dumps(values), values)
        if len(found) == VISIBLE + HIDDEN:
            break
    values = list(found.values())
    if len(values) <= VISIBLE:
        shown = max(1, 2 * len(values) // 3)
        return [*values[:shown], *values[:1] * (VISIBLE - shown), *values[shown:]]
    return values


def recorded(entry: dict[str, Any], inputs: list[list[Any]], right: Path, target: Path) -> Path:
    """Cases with what the right program says to them."""
    cases = {"call": entry["call"], "cases": [{"inputs": values} for values in inputs]}
    target.write_text(json.dumps(cases), "utf-8")
    command = [sys.executable, "-c", RECORD, str(target), str(right)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    for case, expected in zip(cases["cases"], said, strict=True):
        case["expected"] = expected
    target.write_text(json.dumps(cases), "utf-8")
    return target


def passes(folder: Path, cases: Path) -> bool:
    """Whether the program in the folder is right on all cases, within half a minute."""
    command = [sys.executable, "check.py", str(cases)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
