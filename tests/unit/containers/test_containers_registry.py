"""Instances as files: identity is pid and start time, never pid alone."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from containers.processes import Identity, descendants
from containers.registry import Record, Registry, bwrap_status
from containers.runtime import RuntimeBroken


def own_identity() -> Identity:
    found = Identity.of(os.getpid())
    assert found is not None
    return found


def record(name: str, **labels: str) -> Record:
    me = own_identity()
    return Record(
        name=name,
        digest="sha256:x",
        role="trial",
        labels=labels,
        init=me,
        monitor=me,
        owner=me,
        survives_caller=False,
        uid=1,
        cgroups=("/a",),
    )


def test_a_record_comes_back_whole_and_is_found_by_every_label(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    one, two = record("one", run="r", arm="a"), record("two", run="r", arm="b")
    for item in (one, two):
        registry.prepare(item.name)
        registry.write(item)
    assert registry.read("one") == one
    assert registry.matching({"run": "r"}) == [one, two]
    assert registry.matching({"run": "r", "arm": "b"}) == [two]
    assert registry.matching({"run": "other"}) == []
    registry.forget("one")
    registry.forget("one")
    assert registry.all() == [two]
    assert not registry.private("one").exists()


def test_a_lock_is_held_by_one_and_leaves_nothing_behind(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    inside: list[int] = []

    def use(number: int) -> None:
        for _ in range(50):
            with registry.locked("one"):
                inside.append(number)
                assert inside == [number]
                inside.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
    assert list(registry.folder.iterdir()) == []
    with registry.locked("one"):
        registry.write(record("one"))
    with registry.locked("one"):
        registry.forget("one")
    assert list(registry.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", ".hidden", "a\n", "x" * 200])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeBroken, match="instance name"):
        Registry(tmp_path).prepare(name)


def test_a_half_written_status_line_is_no_status(tmp_path: Path) -> None:
    (tmp_path / "status").write_text('{ "child-pid": 12 }\n{ "exit-co')
    assert bwrap_status(tmp_path) == {"child-pid": 12}
    assert bwrap_status(tmp_path / "nowhere") == {}


def test_a_reused_pid_or_another_boot_is_somebody_else() -> None:
    me = own_identity()
    assert me.alive()
    assert not replace(me, started=me.started + 1).alive()
    assert not replace(me, boot="another").alive()


def test_a_stranger_with_our_number_is_neither_killed_nor_waited_for() -> None:
    me = own_identity()
    replace(me, started=me.started + 1).kill(time.monotonic() + 1)
    assert replace(me, started=me.started + 1).wait_gone(time.monotonic() + 1)


def test_kill_sees_it_gone_and_a_zombie_counts_as_gone() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    identity = Identity.of(process.pid)
    assert identity is not None
    assert not identity.wait_gone(time.monotonic() + 0.01)
    identity.kill(time.monotonic() + 10)
    assert not identity.alive()  # unreaped still
    identity.reap()
    assert Identity.of(process.pid) is None
    process.returncode = -9  # it was reaped behind its back
    identity.kill(time.monotonic() + 1)


def test_descendants_include_the_root_and_grandchildren() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        found = {stat.pid for stat in descendants(os.getpid())}
        os.kill(grandchild, 9)
    assert {os.getpid(), parent.pid, grandchild} <= found
