"""Units for systemd: the agent comes back after a boot, and what died meanwhile is brought up again."""

import os
import pwd
import sys
from pathlib import Path

from evidence.ledger import write_durably
from evolve.settings import Settings

RECOVERY_SECONDS = 30
SERVICE = """\
[Unit]
Description=Agent service with its edge, gateway and promoter
After=network.target docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
User={user}
Environment="EVOLVE_HOME={home}"
EnvironmentFile=-{plain_home}/environment
ExecStart={evolve} agent start --reason boot
ExecStop={evolve} agent stop --reason shutdown
# The service outlives whoever started it: only `agent stop` ends it, in its own order.
KillMode=process
TimeoutStartSec=10min

[Install]
WantedBy=multi-user.target
"""
RECOVERY = """\
[Unit]
Description=Starts again what died of the agent service
Requisite=evolve.service
After=evolve.service

[Service]
Type=oneshot
User={user}
Environment="EVOLVE_HOME={home}"
EnvironmentFile=-{plain_home}/environment
ExecStart={evolve} agent start --reason recovery
KillMode=process
TimeoutStartSec=10min
"""
TIMER = """\
[Unit]
Description=Looks after the agent service
PartOf=evolve.service

[Timer]
OnActiveSec={seconds}
OnUnitInactiveSec={seconds}
AccuracySec=1

[Install]
WantedBy=evolve.service
"""


def write_units(settings: Settings, folder: Path) -> list[Path]:
    """`evolve.service`, `evolve-recover.service` and its timer, for this home and this user. Raises OSError."""
    values = {
        "evolve": _quoted(Path(sys.executable).with_name("evolve")),
        "home": _quoted(settings.home.resolve()),
        "plain_home": str(settings.home.resolve()).replace(
            "%", "%%"
        ),  # taken as it stands to the end of the line
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "seconds": RECOVERY_SECONDS,
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in (
        ("evolve.service", SERVICE),
        ("evolve-recover.service", RECOVERY),
        ("evolve-recover.timer", TIMER),
    ):
        write_durably(folder / name, text.format(**values).encode(), 0o644)
        written.append(folder / name)
    return written


def _quoted(path: Path) -> str:
    """As a unit file wants it: `%` begins a specifier, white space ends a word."""
    return str(path).replace("\\", "\\\\").replace("%", "%%").replace(" ", "\\x20")
