"""Turning what `bwrap` and the kernel say into one line that names the cause and the way out."""

from pathlib import Path

_REFUSALS = (
    "No permissions to creat",  # "creating", in the words of 0.11
    "Creating new namespace failed",
    "setting up uid map",
    "Can't mount proc",
    "Failed to make / slave",
    "Can't mount devpts",
)
_SWITCHES = (
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor forbids unprivileged user namespaces here (Ubuntu's default): give bwrap an AppArmor "
        "profile with `userns,`, or `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
    ),
    (
        "user/max_user_namespaces",
        "0",
        "this kernel allows no user namespaces: `sysctl -w user.max_user_namespaces=15000`",
    ),
    (
        "kernel/unprivileged_userns_clone",
        "0",
        "this kernel keeps user namespaces for root: `sysctl -w kernel.unprivileged_userns_clone=1`",
    ),
)


def forbidding_switch(settings: Path = Path("/proc/sys")) -> str | None:
    """The kernel setting that keeps an ordinary user from making a sandbox, with its remedy; None: there is
    none."""
    for name, value, remedy in _SWITCHES:
        try:
            found = (settings / name).read_text().strip()
        except OSError:
            continue
        if found == value:
            return remedy
    return None


def explain(words: str, settings: Path = Path("/proc/sys")) -> str | None:
    """One line for the operator when `words` (bwrap's own) mean that namespaces are refused; None: another
    trouble."""
    if not any(refusal in words for refusal in _REFUSALS):
        return None
    cause = forbidding_switch(settings)
    if cause is None:
        cause = (
            "something around this process refuses namespaces, most likely a container: start that container "
            "with `--cap-add SYS_ADMIN --security-opt seccomp=unconfined`, or run this product outside of it"
        )
    return f"bubblewrap can't make a sandbox here: {cause}. bwrap said: {words[:200]}"
