"""What a candidate's source could newly do to the world outside itself, read from the syntax tree of what it changed.

This informs the approver and the consent policy; it does not confine. The sandbox confines.
"""

import ast

REACH = {
    "network": {
        "socket",
        "ssl",
        "http",
        "urllib",
        "ftplib",
        "smtplib",
        "httpx2",
        "requests",
        "aiohttp",
        "socketserver",
    },
    "processes": {"subprocess", "multiprocessing", "pty", "signal"},
    "native_code": {"ctypes", "cffi", "mmap"},
    "dynamic_code": {"importlib", "runpy", "code", "codeop", "pickle", "marshal"},
    "introspection": {"inspect", "gc", "sys"},
}
IN_WORDS = {
    "network": "talk to other machines",
    "processes": "start or signal other programs",
    "native_code": "run machine code or touch memory directly",
    "dynamic_code": "run code that is not in its source",
    "introspection": "look into, and change, the running interpreter",
}
DYNAMIC_CALLS = {"eval", "exec", "compile", "__import__"}


def capabilities(source: str) -> set[str]:
    """Names such as `network:socket`; a file that does not parse has none (the build refuses it anyway)."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    modules = set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DYNAMIC_CALLS:
            found.add(f"dynamic_code:{node.func.id}")
    return found | {f"{kind}:{m}" for kind, names in REACH.items() for m in names & modules}


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    """Capabilities that the changed files (path -> source) gained and lost together."""
    old = set().union(*(capabilities(source) for source in before.values()))
    new = set().union(*(capabilities(source) for source in after.values()))
    return {"added": sorted(new - old), "removed": sorted(old - new)}


def in_words(name: str) -> str:
    """What a capability such as `network:socket` lets a service do, in a sentence's words."""
    kind, _, means = name.partition(":")
    how = f"calls {means}()" if means in DYNAMIC_CALLS else f"imports {means}"
    return f"{IN_WORDS.get(kind, kind)} ({how})"
