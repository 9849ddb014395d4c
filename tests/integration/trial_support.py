"""Real images of the tiny substrate, with misbehaviour that cases can ask for, and small cases."""

import shutil
from pathlib import Path

from containers.bubblewrap import BubblewrapRuntime
from containers.runtime import ImageRef
from containers.substrate import SubstrateManifest, load_manifest
from evidence.cases import Cassette, HeldOutCase, RecordedCall, RecordedTurn
from trial.plan import Job
from trial.replay import Replay
from trial.report import Arm, Grade

TINY = Path(__file__).parents[2] / "harness" / "tiny"

_SKILLS = '''

def both(text: str) -> str:
    """Asks the model two things at once; the answers in order of arrival."""
    import threading
    import time

    gateway, seen = Gateway(os.environ["GATEWAY_SOCKET"]), []
    first, second = text.split()

    def ask(word: str) -> None:
        seen.append(str(gateway.ask(word, "t")["content"]))

    one, two = threading.Thread(target=ask, args=(first,)), threading.Thread(target=ask, args=(second,))
    one.start()
    time.sleep(0.05)
    two.start()
    one.join()
    two.join()
    return " ".join(seen)


def alone(text: str) -> str:
    """Asks the model and does not listen."""
    import threading
    import time

    threading.Thread(target=Gateway(os.environ["GATEWAY_SOCKET"]).ask, args=(text, "t"), daemon=True).start()
    time.sleep(0.2)
    return "asked"


SKILLS["both"] = both
SKILLS["alone"] = alone
SKILLS["die"] = lambda text: os._exit(int(text))
SKILLS["env"] = lambda text: os.environ.get(text, "")
SKILLS["fill"] = lambda text: str(open(os.environ["STATE_DIR"] + "/f", "wb").write(b"x" * int(text)))
SKILLS["launcher"] = lambda text: str(os.kill(1, 9))
'''


def tiny_tree(folder: Path, patch: tuple[str, str] | None = None) -> Path:
    """A copy of the tiny substrate whose cases may also ask it to misbehave."""
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("__pycache__"))
    turns = folder / "service" / "turns.py"
    text = turns.read_text()
    anchor = "\n\nclass Agent:"
    assert anchor in text
    text = text.replace(anchor, _SKILLS + anchor)
    if patch is not None:
        assert patch[0] in text
        text = text.replace(*patch)
    turns.write_text(text)
    return folder


def build(runtime: BubblewrapRuntime, tree: Path) -> tuple[ImageRef, SubstrateManifest]:
    manifest = load_manifest(tree)
    return runtime.build(tree, manifest), manifest


def turn(text: str, number: int = 0, session: str = "s", **more: object) -> RecordedTurn:
    body = {"messages": [{"role": "user", "content": text}], **more}
    return RecordedTurn(
        request_id=f"r{number}-{session}",
        session=session,
        path="/v1/chat/completions",
        body=body,
        started=1.7e9,
    )


def case(text: str, *prelude: str, calls: tuple[RecordedCall, ...] = (), **more: object) -> HeldOutCase:
    earlier = tuple(turn(one, number) for number, one in enumerate(prelude, 1))
    fields = {"id": text, "evidence_id": "e", "fingerprint": "f", "turn": turn(text), "prelude": earlier}
    return HeldOutCase.model_validate({**fields, "cassette": Cassette(calls=calls), **more})


def answered(word: str, start: int, end: int, latency: float = 0.0, target: str = "default") -> RecordedCall:
    """A recorded model call as the tiny substrate makes it; the model says the word again."""
    return RecordedCall(
        kind="model",
        target="/v1/chat/completions",
        request_id="t",
        request={"model": target, "messages": [{"role": "user", "content": word}]},
        response={"choices": [{"message": {"role": "assistant", "content": word}}]},
        start_order=start,
        end_order=end,
        latency=latency,
    )


def job(one: HeldOutCase, image: ImageRef, arm: Arm = "candidate", seed: int = 0) -> Job:
    return Job(one, arm, image.digest, seed)


def text_of(replay: Replay) -> str:
    """What the tiny substrate said in the case's own turn."""
    reply = replay.turn.reply
    assert isinstance(reply, dict), replay.turn
    choices = reply.get("choices")
    return choices[0]["message"]["content"] if choices else reply["error"]["message"]


def grade(_: object, replay: Replay) -> tuple[Grade, ...]:
    ok = replay.turn.status == 200
    return (Grade(grader="answered", score=float(ok), passed=ok, reason=f"status {replay.turn.status}"),)
