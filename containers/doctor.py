"""`check_engine`: can this machine run sandboxes at all, with which limits, and do they hold?"""

from dataclasses import asdict
from pathlib import Path

from containers.conformance import Finding, run_conformance, starts
from containers.diagnosis import forbidding_switch
from containers.docker_options import DockerOptions
from containers.engine import get_runtime
from containers.host import engine_mode
from containers.runtime import RuntimeBroken


def check_engine(
    home: Path, *, runtime: str = "auto", docker: DockerOptions | None = None, thorough: bool = True
) -> list[Finding]:
    """What `evolve doctor` shows about the engine; `thorough` also tries every way out (some seconds).

    A machine that can't make a sandbox gives one fatal finding that names the way out.
    """
    try:
        engine = get_runtime(runtime, home, docker)
        capabilities = asdict(engine.capabilities)
        needs_namespaces = engine.name == "bubblewrap" and engine_mode() == "user"
        if needs_namespaces and (switch := forbidding_switch()) is not None:
            return [Finding("engine", False, switch)]
        findings = run_conformance(engine, home) if thorough else [starts(engine)]
    except RuntimeBroken as error:
        return [Finding("engine", False, str(error))]
    held = [Finding(f"holds: {name}", True, str(value), "warning") for name, value in capabilities.items()]
    return [*held, *findings]
