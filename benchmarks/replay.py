"""One case replayed in a bubblewrap sandbox, as trials do it, against the same replay in-process and in Docker."""

import compileall
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from docker.errors import DockerException

from benchmarks.measure import Result, interleaved, median, ratio, say, timed
from benchmarks.peers import Contained, Forked, Peer, PeerFailed, engine
from containers.bubblewrap import BubblewrapRuntime
from containers.engine import get_runtime
from containers.runtime import ImageRef
from containers.shard import Shard
from containers.substrate import SubstrateManifest, load_manifest
from evidence.cases import Cassette, HeldOutCase, RecordedCall, RecordedTurn
from evolve.substrates import export_harness, export_tiny
from trial.arena import Arena
from trial.gateway import ReplayGateway
from trial.plan import Job
from trial.replay import Replay, replay_case
from trial.report import Grade

PEERS = {
    "in_process": "the same service forked from an interpreter with the same modules preloaded, nothing around it",
    "docker_run": "a fresh container a replay, hardened as the sandbox is, interpreter started anew",
}
SUBSTRATES = {"tiny": (export_tiny, "ask hello"), "harness": (export_harness, "/remember hello")}
ENV = {"MODEL_NAME": "", "TOOL_SERVERS": "", "INSTANCE_EPOCH": "1"}


def case(text: str) -> HeldOutCase:
    """One turn; the tiny substrate's asks the model once, and the recording answers."""
    body: dict[str, object] = {"messages": [{"role": "user", "content": text}]}
    turn = RecordedTurn(request_id="r", session="s", path="/v1/chat/completions", body=body, started=1.7e9)
    word = text.partition(" ")[2]
    call = RecordedCall(
        kind="model",
        target="/v1/chat/completions",
        request_id="r",
        request={"model": "", "messages": [{"role": "user", "content": word}]},
        response={"choices": [{"message": {"role": "assistant", "content": word}}]},
        start_order=1,
        end_order=2,
        latency=0.0,
    )
    return HeldOutCase(id="c", evidence_id="e", fingerprint="f", turn=turn, cassette=Cassette(calls=(call,)))


def grade(_: object, replay: Replay) -> tuple[Grade, ...]:
    ok = replay.turn.status == 200 and bool(replay.events)
    return (Grade(grader="answered", score=float(ok), passed=ok, reason=f"{replay.turn}"),)


def run_one(arena: Arena, job: Job) -> None:
    trial = next(iter(arena.run([job], grade)))
    if trial.outcome != "pass":
        raise SystemExit(f"the sandbox's replay: {trial.reason}")


def replay_in(where: Peer | Shard, gateway: ReplayGateway, job: Job, manifest: SubstrateManifest) -> None:
    found = replay_case(where, gateway, job.case, manifest, seed=job.seed, env=ENV)  # type: ignore[arg-type]
    if not grade(job.case, found)[0].passed:
        raise PeerFailed(f"{type(where).__name__}'s replay: {found.turn} {found.died}")


def measure_substrate(name: str, rounds: int, home: Path, runtime: BubblewrapRuntime) -> Result:
    export, text = SUBSTRATES[name]
    tree, deps = home / name, None
    export(tree)
    manifest = load_manifest(tree)
    say(f"replay {name}: building the image")
    image = runtime.build(tree, manifest)
    compileall.compile_dir(tree, quiet=2)  # as the image's tree is
    if manifest.lock_file is not None:
        deps = next((home / "layers").glob("*/deps"))
    job = Job(case(text), "candidate", image.digest, 0)
    with ExitStack() as stack:
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gw-"))
        Path(sockets).chmod(0o755)
        gateway = stack.enter_context(ReplayGateway(Path(sockets) / "gateway.sock"))
        warm = stack.enter_context(Arena(runtime, manifest, workdir=home / f"arena-{name}", workers=1))
        forked = stack.enter_context(Forked(tree, manifest, gateway.socket_path, deps))

        def fresh() -> None:
            with tempfile.TemporaryDirectory(prefix="bs-") as place:
                shard = Shard(
                    runtime,
                    ImageRef(image.digest),
                    manifest,
                    name=f"fresh-{Path(place).name}",
                    labels={},
                    workdir=Path(place),
                    gateway_dir=Path(sockets),
                )
                with shard:
                    replay_in(shard, gateway, job, manifest)

        ways: dict[str, Callable[[], None]] = {
            "bubblewrap": lambda: run_one(warm, job),
            "bubblewrap_fresh": fresh,
            "in_process": lambda: replay_in(forked, gateway, job, manifest),
        }
        client, why = engine()
        if client is not None:
            stack.callback(client.close)
            try:
                contained = stack.enter_context(Contained(client, tree, manifest, gateway.socket_path, deps))
                replay_in(contained, gateway, job, manifest)
                ways["docker_run"] = lambda: replay_in(contained, gateway, job, manifest)
            except (DockerException, PeerFailed) as error:  # one on another machine can't show our files
                why = f"the Docker Engine can't run the replay: {error}"[:200]
        for way in ways.values():
            way()  # once before it counts: caches are filled, the warm sandbox stands
        timers = {key: (lambda way=way: timed(way)) for key, way in ways.items()}
        figures = interleaved(timers, rounds, f"replay {name}")
    sandbox, docker_run = figures["bubblewrap"], figures.get("docker_run")
    return {
        "n": rounds,
        "median_ms": {"docker_run": None, **{key: median(some) for key, some in figures.items()}},
        "bubblewrap_to_in_process": ratio(sandbox, figures["in_process"]),
        "docker_run_to_bubblewrap": docker_run and ratio(docker_run, sandbox),
        "docker_run_to_bubblewrap_fresh": docker_run and ratio(docker_run, figures["bubblewrap_fresh"]),
        **({"docker_run_missing": why} if why else {}),
    }


def measure(small: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="br-") as name:
        home = Path(name)
        runtime = get_runtime("bubblewrap", home)
        chosen = {"tiny": 2} if small else {"tiny": 60, "harness": 25}
        figures = {key: measure_substrate(key, rounds, home, runtime) for key, rounds in chosen.items()}
    return {
        "what": "one case: fresh state, service started, one turn, killed, state exported; milliseconds",
        "peers": PEERS,
        **figures,
    }
