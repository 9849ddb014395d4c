"""An operator's own commands have a say in a bake."""

import time
from pathlib import Path

import pytest
from promote_rig import Images, rig_in
from promote_traffic import Traffic


def hook(script: str, **more: object) -> dict[str, object]:
    return {"name": "smoke", "argv": ["sh", "-c", script], **more}


def test_a_hook_that_passes_sees_the_service_and_its_image_and_lets_it_be(
    images: Images, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    ask = f"env > {told}; python3 -c \"import os, urllib.request as r; r.urlopen(os.environ['EVOLVE_URL'] + '/healthz')\""
    with rig_in(tmp_path / "rig", images, hooks=[hook(ask)]) as rig:
        rig.install()
        with Traffic(rig, clients=2):
            record = rig.finish(rig.promote("good"))
        assert record.state == "committed", record.reason
        seen = dict(line.split("=", 1) for line in told.read_text().splitlines())
        assert seen["EVOLVE_IMAGE"] == images.digest("good")
        assert seen["EVOLVE_URL"] == f"http://127.0.0.1:{rig.port}"
        assert "PYTHONPATH" not in seen  # nothing of the promoter's own environment


@pytest.mark.parametrize(
    ("script", "more", "reason"),
    [
        ("echo the till is shut; exit 3", {}, "hook smoke: exit 3: the till is shut"),
        ("sleep 60", {"timeout_seconds": 0.3}, "hook smoke: no end within 0.3 s"),
    ],
)
def test_a_hook_that_fails_or_hangs_rolls_back_with_its_words(
    images: Images, tmp_path: Path, script: str, more: dict[str, object], reason: str
) -> None:
    with rig_in(tmp_path / "rig", images, hooks=[hook(script, **more)]) as rig:
        rig.install()
        base = rig.live_image()
        with Traffic(rig, clients=2) as traffic:
            record = rig.finish(rig.promote("good"))
        assert (record.state, record.reason, rig.live_image()) == ("rolled_back", reason, base)
        assert traffic.lost_or_doubled() == []


def test_nothing_is_committed_before_every_hook_has_passed_and_none_is_left_running(
    images: Images, tmp_path: Path
) -> None:
    go, pid = tmp_path / "go", tmp_path / "pid"
    script = f"echo $$ > {pid}; while [ ! -e {go} ]; do sleep 0.05; done"
    with rig_in(tmp_path / "rig", images, hooks=[hook(script)]) as rig:
        rig.install()
        with Traffic(rig, clients=2):
            swap = rig.promote("good")
            while not pid.exists():
                time.sleep(0.02)
            time.sleep(1.5)  # several bakes
            assert rig.client.record(swap) is None
            go.touch()
            assert rig.finish(swap).state == "committed"
        assert not Path(f"/proc/{pid.read_text().strip()}").exists()
