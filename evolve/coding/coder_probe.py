"""Runs inside a coder's sandbox, started by its own shell tool, and tries to get at what it must not. Standard library
only; one JSON object a line."""

import glob
import json
import os
import socket
import subprocess
import sys

TOLD = "/work/task/told.json"
COUNT = 8


def say(name: str, ok: bool, detail: str) -> None:
    print(json.dumps({"name": name, "ok": ok, "detail": detail[:300]}))


def reach(address: str, port: int) -> str:
    """Empty when there is no way."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return f"connected to {address}:{port}"
    except OSError:
        return ""


def main() -> None:
    with open(TOLD, encoding="utf-8") as stream:
        told = json.load(stream)
    seen = [path for path in told["hidden"] if os.path.exists(path)]
    say("the host's files", not seen, f"visible: {seen}")
    ways = [reach("127.0.0.1", told["tcp_port"]), reach("192.0.2.1", 80), reach("example.com", 443)]
    say("the network", not any(ways), "; ".join(filter(None, ways)) or "no way out")
    links = sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else ["lo"]
    say("network devices", links == ["lo"], f"{links}")
    leaked = [name for name in os.environ if name == told["marker"] or "SECRET" in name]
    say("the host's environment", not leaked, f"{leaked}")
    found = []
    for path in [*glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]:
        try:
            with open(path, "rb") as handle:
                if told["secret"].encode() in handle.read():
                    found.append(path)
        except OSError:
            continue
    say("the real key", not found, f"{found}")
    home = os.path.expanduser("~")
    say("a home of its own", home in ("/work/home", "/tmp"), home)
    log = subprocess.run(["git", "log", "--oneline"], capture_output=True, text=True, timeout=20, check=False)
    say("one commit and no history", len(log.stdout.splitlines()) <= 1, log.stdout + log.stderr)
    writable = [
        path
        for path in ("/", "/usr", "/work", "/work/task", "/run/check", "/opt")
        if os.access(path, os.W_OK)
    ]
    say("nothing else is writable", not writable, f"{writable}")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
