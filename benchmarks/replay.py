"""One case replayed in a warm sandbox, as trials do it on either engine, against the same replay otherwise isolated."""

import compileall
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker.errors import DockerException

from benchmarks.measure import Result, interleaved, median, ratio, say, timed
from benchmarks.peers import Contained, Forked, Peer, PeerFailed, engine
from containers.docker_options import DockerOptions
from containers.engine import get_runtime
from containers.runtime import ImageRef, Runtime
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
    "docker_shard": "the same warm launcher in a container of the product's own Docker engine",
    "docker_run": "a fresh container a replay, hardened as the sandbox is, interpreter started anew",
}
SUBSTRATES = {"tiny": (export_tiny, "ask hello"), "harness": (export_harness, "/remember hello")}
RATIOS = (
    ("bubblewrap", "in_process"),
    ("docker_shard", "bubblewrap"),
    ("docker_run", "docker_shard"),
    ("docker_run", "bubblewrap"),
    ("docker_run", "bubblewrap_fresh"),
)
FRESH = {"purpose": "benchmark"}
DOCKER = "EVOLVE_DOCKER"
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


@dataclass(frozen=True)
class Bench:
    """What all ways replay, and where."""

    name: str
    home: Path
    tree: Path
    manifest: SubstrateManifest
    gateway: ReplayGateway
    stack: ExitStack
    """Ends everything that stays between rounds."""

    def warm(self, runtime: Runtime, job: Job) -> Callable[[], None]:
        """As trials do it: the sandbox is started once, each case is a fork in it."""
        place = self.home / f"arena-{runtime.name}-{self.name}"
        arena = self.stack.enter_context(Arena(runtime, self.manifest, workdir=place, workers=1))
        return lambda: run_one(arena, job)

    def fresh(self, runtime: Runtime, job: Job) -> None:
        with self.shard(runtime, job) as shard:
            replay_in(shard, self.gateway, job, self.manifest)

    @contextmanager
    def shard(self, runtime: Runtime, job: Job) -> Iterator[Shard]:
        with tempfile.TemporaryDirectory(prefix="bs-") as place:
            shard = Shard(
                runtime,
                ImageRef(job.digest),
                self.manifest,
                name=f"fresh-{Path(place).name}",
                labels=FRESH,
                workdir=Path(place),
                gateway_dir=self.gateway.socket_path.parent,
            )
            with shard:
                yield shard

    def resident(self, runtime: Runtime, job: Job) -> float:
        """MiB of all processes of a sandbox while its service waits for a request; what they share counts twice."""
        with self.shard(runtime, job) as shard:
            shard.begin(ENV)
            [instance] = runtime.find(FRESH)
            held = runtime.stats(instance)["memory_bytes"]
            shard.end()
        return mebibytes(held)


def measure_substrate(
    name: str, rounds: int, home: Path, runtimes: Mapping[str, Runtime], why: str
) -> Result:
    export, text = SUBSTRATES[name]
    tree = home / name
    export(tree)
    manifest = load_manifest(tree)
    say(f"replay {name}: building the images")
    jobs = {
        way: Job(case(text), "candidate", runtime.build(tree, manifest).digest, 0)
        for way, runtime in runtimes.items()
    }
    compileall.compile_dir(tree, quiet=2)  # as the image's tree is
    deps = next((home / "layers").glob("*/deps")) if manifest.lock_file is not None else None
    with ExitStack() as stack:
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gw-")))
        sockets.chmod(0o755)
        gateway = stack.enter_context(ReplayGateway(sockets / "gateway.sock"))
        bench = Bench(name, home, tree, manifest, gateway, stack)
        own, job = runtimes["bubblewrap"], jobs["bubblewrap"]
        forked = stack.enter_context(Forked(tree, manifest, gateway.socket_path, deps))
        ways = {way: bench.warm(runtime, jobs[way]) for way, runtime in runtimes.items()}
        ways["bubblewrap_fresh"] = lambda: bench.fresh(own, job)
        ways["in_process"] = lambda: replay_in(forked, gateway, job, manifest)
        memory = {way: bench.resident(runtime, jobs[way]) for way, runtime in runtimes.items()}
        client, missing = engine()
        if client is not None:
            stack.callback(client.close)
            try:
                contained = stack.enter_context(Contained(client, tree, manifest, gateway.socket_path, deps))
                replay_in(contained, gateway, job, manifest)
                memory["docker_run"] = mebibytes(contained.resident_bytes(ENV))
                ways["docker_run"] = lambda: replay_in(contained, gateway, job, manifest)
            except (DockerException, PeerFailed) as error:  # one on another machine can't show our files
                missing = f"the Docker Engine can't run the replay: {error}"[:200]
        for way in ways.values():
            way()  # once before it counts: caches are filled, the warm sandbox stands
        timers = {key: (lambda way=way: timed(way)) for key, way in ways.items()}
        figures = interleaved(timers, rounds, f"replay {name}")
    medians = {key: median(some) for key, some in figures.items()}
    return {
        "n": rounds,
        "median_ms": {"docker_run": None, "docker_shard": None, **medians},
        "replays_per_second": {key: round(1000 / ms, 1) for key, ms in medians.items()},
        "resident_mib": memory,
        **{f"{ours}_to_{peer}": quotient(figures, ours, peer) for ours, peer in RATIOS},
        **({"docker_run_missing": missing} if missing else {}),
        **({"docker_shard_missing": why} if why else {}),
    }


def quotient(figures: Mapping[str, Sequence[float]], ours: str, peer: str) -> float | None:
    return ratio(figures[ours], figures[peer]) if ours in figures and peer in figures else None


def mebibytes(count: int) -> float:
    return round(count / (1 << 20), 1)


def docker_runtime(home: Path) -> tuple[dict[str, Runtime], str]:
    """The product's own Docker engine, told where and on what by the product's own variable."""
    told = os.environ.get(DOCKER)
    if not told:
        return {}, f"{DOCKER} is not set"
    options = DockerOptions.model_validate_json(told)
    if options.host:
        os.environ["DOCKER_HOST"] = options.host  # `docker run` is measured on the same engine
    return {"docker_shard": get_runtime("docker", home / "docker", options)}, ""


def measure(small: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="br-") as name:
        home = Path(name)
        docker, why = docker_runtime(home)
        runtimes = {"bubblewrap": get_runtime("bubblewrap", home), **docker}
        chosen = {"tiny": 2} if small else {"tiny": 60, "harness": 25}
        figures = {key: measure_substrate(key, rounds, home, runtimes, why) for key, rounds in chosen.items()}
    return {
        "what": "one case: fresh state, service started, one turn, killed, state exported; milliseconds",
        "peers": PEERS,
        **figures,
    }
