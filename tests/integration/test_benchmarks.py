"""The benchmarks run, in their smallest configuration, and say what they promise; no figure is judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from containers.docker_options import DockerOptions

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    env = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=480, check=False
    )


def test_every_benchmark_gives_medians_a_peer_and_a_ratio() -> None:
    done = run("--small", "--json")
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    names = run("--list").stdout.split()
    assert names == ["replay", "intake", "stopping", "time_to_verdict", "held", "engine", "search"]
    for name in names:
        assert results[name]["peers"], name
        assert all(text for text in results[name]["peers"].values()), name
    tiny = results["replay"]["tiny"]
    assert tiny["n"] > 0
    assert tiny["replays_per_second"]["bubblewrap"] > 0
    assert tiny["resident_mib"]["bubblewrap"] > 0
    assert tiny["bubblewrap_to_in_process"] > 0
    for way in ("docker_run", "docker_shard"):
        assert (tiny["median_ms"][way] is None) == bool(tiny.get(f"{way}_missing"))
    assert results["intake"]["intake_to_bare"] > 0
    for row in results["stopping"]["candidates"].values():
        assert row["median_run"] + row["median_saved"] == row["planned"]
    verdicts = results["time_to_verdict"]
    for row in verdicts["simulated"]["scenarios"].values():
        for way in ("ours", "exhaustive", "exhaustive_bonferroni"):
            assert row[way]["false_accepts"]["of"] == verdicts["simulated"]["runs"]
        assert row["replays_ratio"] > 0
    real = verdicts["real"]
    assert (real["ours"]["replays"], real["exhaustive"]["replays"]) == (103, 4 * sum(real["cases"]))
    assert min(real["replaying_seconds_ratio"], real["run_seconds_ratio"]) > 0
    held = results["held"]
    assert held["swap"]["lost"] == 0
    assert held["swap"]["median_held_ms"] > 0
    assert held["stop_and_start"]["median_unanswered_ms"] > 0
    assert held["held_to_stop_and_start"] > 0
    for shape in ("chain", "fan_out", "random"):
        row = results["engine"][shape]
        assert min(row["ours_to_langgraph"], row["ours_to_asyncio"], row["bytes_a_step"]) > 0
    assert results["engine"]["durable_chain"]["ours_to_langgraph"] > 0
    for size in ("small", "medium", "largest"):
        assert (
            min(results["search"][size][way] for way in ("checked", "offspring", "checked_to_langgraph")) > 0
        )
    memo = results["search"]["memo"]
    assert memo["same_course"]
    assert memo["calls_with"] < memo["calls_without"]


@pytest.mark.docker
def test_a_shard_of_the_docker_engine_is_measured_against_a_container_a_case(
    docker_options: DockerOptions,
) -> None:
    done = run("replay", "--small", "--json", EVOLVE_DOCKER=docker_options.model_dump_json(exclude_none=True))
    assert done.returncode == 0, done.stderr
    tiny = json.loads(done.stdout)["replay"]["tiny"]
    assert min(tiny["docker_run_to_docker_shard"], tiny["docker_shard_to_bubblewrap"]) > 0
    assert min(tiny["resident_mib"][way] for way in ("bubblewrap", "docker_shard", "docker_run")) > 0


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    done = run("reply")
    assert done.returncode == 2
    assert "'reply': one of replay, intake, stopping, time_to_verdict, held, engine, search" in done.stderr
    assert done.stdout == ""
