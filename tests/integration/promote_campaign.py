"""The kill campaign: a promoter killed at named points, again while it recovers, under traffic; then thirteen questions.

`run_trial` does one swap with its kills and returns every violation it saw; an empty list is the promise kept.
"""

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from promote_rig import GOOD_KINDS, Images, Rig, Traffic, rig_in, until

from evidence.canonical import new_id
from evidence.ledger import Ledger
from promote.approval import SignedApproval
from promote.generations import copy_state
from promote.keys import machine_key
from promote.records import SwapRecord
from promote.wire import Refused, Unreachable

FORWARD, BROKEN, LATE, CLOSES, BACK, DIES = "good", "refuses", "late_bad", "crash", "rollback", "dies"
SCENARIOS = (FORWARD, BROKEN, LATE, CLOSES, BACK, DIES)
"""A good image, one that fails its probe, one that turns bad in the bake, one that never boots, a person's rollback after
a commit, and an agent that dies at rest."""
_TRIAL_SECONDS = 90.0


@dataclass(frozen=True)
class Plan:
    """One scenario; the promoter's n-th incarnation dies at the n-th point, the one after the last lives."""

    scenario: str
    kills: tuple[str, ...] = ()


@dataclass
class Result:
    plan: Plan
    state: str = ""
    hit: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    requests: int = 0


class Overlap:
    """Looks for two live instances at one time, as fast as it can, while the block lasts."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self._stop, self.seen = rig, threading.Event(), ""
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        labels = {"evolve.service": self._rig.service, "evolve.role": "live"}
        while not self._stop.wait(0.02):
            running = [i.name for i in self._rig.runtime.find(labels) if i.status().running]
            if len(running) > 1:
                self.seen = f"two live instances at once: {running}"

    def __enter__(self) -> "Overlap":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Trial:
    """One swap (or rollback, or death) with its kills."""

    def __init__(self, rig: Rig, plan: Plan, points: Path | None = None) -> None:
        self.rig, self.plan = rig, plan
        self.result = Result(plan)
        self._left = list(plan.kills)
        self._points = points
        self._spent: SignedApproval | None = None
        self._bundle = Path()

    def run(self) -> Result:
        started = time.monotonic()
        rig = self.rig
        before = rig.live_image()
        target = before if self.plan.scenario in (BACK, DIES) else self._target(before)
        with Traffic(rig, clients=3, pause=0.04) as traffic, Overlap(rig) as overlap:
            rig.kill_promoter()
            self._start()
            record = self._drive(target)
            self._settle()
            self._disarm()
        self.result.problems += [overlap.seen] if overlap.seen else []
        self.result.problems += traffic.lost_or_doubled()
        self.result.requests = len(traffic.sent)
        self._check(before, target, record)
        statuses = {item.status for item in traffic.sent}
        if self.plan.scenario != LATE and statuses != {200}:
            self.result.problems.append(f"lost: replies {statuses}")
        self.result.seconds = time.monotonic() - started
        return self.result

    def _target(self, before: str) -> str:
        kind = self.plan.scenario
        if kind == FORWARD and before == self.rig.images.digest(FORWARD):
            kind = "base"
        return self.rig.images.digest(kind)

    def _start(self) -> None:
        env = (
            {"PROMOTE_KILL_AT": self._left[0] if ":" in self._left[0] else f"{self._left[0]}:1"}
            if self._left
            else {}
        )
        if self._points is not None:
            env["PROMOTE_POINTS"] = str(self._points)
        self.rig.start_promoter(**env)

    def _revive(self) -> None:
        """Start the promoter again if it is dead; the point that killed it was reached."""
        process = self.rig.promoter_process
        assert process is not None
        code = process.poll()
        if code is None:
            return
        if code == -9 and self._left:
            self.result.hit.append(self._left.pop(0))
        else:
            self.result.problems.append(f"the promoter ended by itself with {code}: {self.rig.tail()}")
        self._start()

    def _drive(self, target: str) -> SwapRecord | None:
        if self.plan.scenario == DIES:
            labels = {"evolve.service": self.rig.service, "evolve.role": "live"}
            for instance in self.rig.runtime.find(labels):
                self.rig.runtime.kill(instance)
            return None
        ask = self._ask_rollback if self.plan.scenario == BACK else lambda: self._submit(target)
        end = time.monotonic() + _TRIAL_SECONDS
        swap: str | None = None
        while time.monotonic() < end:
            self._revive()
            try:
                swap = swap or ask()
                record = self.rig.client.record(swap) if swap else None
            except Unreachable:
                time.sleep(0.02)
                continue
            if record is not None:
                return record
            time.sleep(0.03)
        self.result.problems.append(f"the swap did not end in {_TRIAL_SECONDS} s: {self.rig.tail()}")
        return None

    def _submit(self, target: str) -> str | None:
        if self._spent is None:
            self._spent, self._bundle = self.rig.approve(target)
        try:
            return self.rig.client.submit(self._spent, self._bundle)
        except Refused as error:
            found = self._find("ACCEPTED", self._spent.approval.nonce)
            if found is None:
                self.result.problems.append(f"a good approval was refused: {error}")
                return new_id()
            return found

    def _ask_rollback(self) -> str | None:
        reason = f"campaign {id(self)}"
        try:
            return self.rig.client.rollback("otto", reason)
        except Refused as error:
            found = self._find("RB_ASKED", reason)
            if found is None:
                self.result.problems.append(f"a rollback was refused: {error}")
            return found

    def _find(self, state: str, needle: str) -> str | None:
        """The swap that an interrupted call had opened already."""
        for row in self._rows():
            data = row["data"]
            if isinstance(data, dict) and data.get("state") == state and needle in json.dumps(row):
                return str(data["swap"])
        return None

    def _rows(self) -> Iterable[dict[str, object]]:
        with Ledger(self.rig.home / "promote" / "ledger.db", create=False) as ledger:
            return [vars(entry) for entry in ledger.entries()]

    def _settle(self) -> None:
        """Until the promoter rests: planned kills that come after the end are waited for, too."""
        rest_since = 0.0
        end = time.monotonic() + 30
        while time.monotonic() < end:
            self._revive()
            try:
                status, edge = self.rig.client.status(), self.rig.edge.status()
                at_rest = status["open"] is None and not edge.held and not status["problem"]
                alive = self._writers() == [self.rig.live_image()] if at_rest else False
            except Unreachable:
                rest_since = 0.0
                continue
            if not alive:
                rest_since = 0.0
            elif not rest_since:
                rest_since = time.monotonic()
            elif time.monotonic() - rest_since > 0.15:
                return
            time.sleep(0.02)
        self.result.problems.append(f"no rest: {self.rig.client.status()} {self.rig.tail()}")

    def _disarm(self) -> None:
        """A point that the trial never came to must not kill the promoter while it is questioned."""
        if self._left:
            self._left.clear()
            self.rig.kill_promoter()
            self._start()
            self._settle()

    def _writers(self) -> list[str]:
        labels = {"evolve.service": self.rig.service, "evolve.role": "live"}
        return [i.digest for i in self.rig.runtime.find(labels) if i.status().running]

    def _check(self, before: str, target: str, record: SwapRecord | None) -> None:
        """Questions at rest."""
        rig, say = self.rig, self.result.problems.append
        status = rig.client.status()
        self.result.state = record.state if record is not None else "settled"
        live = rig.live_image()
        if status["open"] is not None:
            say("a swap is open at rest")
        if self.plan.scenario != BACK and live not in (before, target):
            say("neither the old image nor the new one is live")
        if record is not None and record.live_image != live:
            say(f"the record says {record.live_image} is live, but {live} is")
        if self.plan.scenario in (BROKEN, LATE, CLOSES) and (
            live == target or self.result.state == "committed"
        ):
            say("a bad image was committed")
        if self._writers() != [live]:
            say(f"writers at rest: {self._writers()}, meant: {live}")
        edge = rig.edge.status()
        if edge.held or edge.target is None or edge.target.digest != live:
            say(f"the edge at rest: {edge}")
        self._check_ledger(record)
        self._check_state()
        if self._spent is not None:
            self._check_refusals(target)
        leftovers = [
            i.name for i in rig.runtime.find({"evolve.service": rig.service, "evolve.role": "shadow"})
        ]
        scratch = rig.home / "promote" / "scratch"
        if leftovers and any(i.status().running for i in rig.runtime.find({"evolve.role": "shadow"})):
            say(f"shadows at rest: {leftovers}")
        if scratch.is_dir() and len(list(scratch.iterdir())) > 2:
            say("scratch copies pile up")

    def _check_ledger(self, record: SwapRecord | None) -> None:
        rig = self.rig
        with Ledger(rig.home / "promote" / "ledger.db", create=False) as ledger:
            key = machine_key(rig.home / "keys" / "ledger.pem").public_key()
            found = ledger.verify(rig.home / "checkpoints", key)
            ends = [
                e
                for e in ledger.entries()
                if record and e.data.get("swap") == record.swap and "record" in e.data
            ]
        self.result.problems += found.problems
        if record is not None and len(ends) != 1:
            self.result.problems.append(f"the swap has {len(ends)} ends")

    def _check_state(self) -> None:
        rig = self.rig
        data = Path(str(rig.client.status()["state_dir"]))
        copy = rig.home / f"copy-{new_id()}"
        copy_state(data, copy)
        for path in sorted(copy.glob("*.db")):
            db = sqlite3.connect(path)
            try:
                if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                    self.result.problems.append(f"{path.name} is damaged")
                gaps = "SELECT session FROM applied GROUP BY session HAVING max(position) != count(*)"
                if rig.images.substrate == "tiny" and db.execute(gaps).fetchall():
                    self.result.problems.append("the state has gaps")
            finally:
                db.close()
        lines = (copy / "events.jsonl").read_text().splitlines()
        epochs = [e["epoch"] for e in map(json.loads, lines) if e["kind"] == "process_started"]
        if epochs != sorted(set(epochs)):
            self.result.problems.append(f"epochs of one generation's writers: {epochs}")

    def _check_refusals(self, target: str) -> None:
        assert self._spent is not None
        try:
            self.rig.client.submit(self._spent, self._bundle)
            self.result.problems.append("a used approval was accepted again")
        except Refused:
            pass
        other = self.rig.images.digest("slow_boot")
        stale, bundle = self.rig.approve(other, base=self.rig.images.digest("wrong"))
        try:
            self.rig.client.submit(stale, bundle)
            self.result.problems.append("an approval on a base that is not live was accepted")
        except Refused:
            pass


def discover(rig: Rig, scenarios: Sequence[str] = SCENARIOS) -> dict[str, list[str]]:
    """The points that each scenario passes when nobody is killed, in order."""
    found: dict[str, list[str]] = {}
    for scenario in scenarios:
        log = rig.home / f"points-{scenario}"
        result = Trial(rig, Plan(scenario), points=log).run()
        assert result.problems == [], (scenario, result.problems)
        found[scenario] = list(dict.fromkeys(log.read_text().splitlines()))
        if scenario == BACK:
            continue
        if scenario == LATE:
            _commit_something(rig)
    return found


def _commit_something(rig: Rig) -> None:
    """So that there is an image to return to."""
    result = Trial(rig, Plan(FORWARD)).run()
    assert result.problems == [], result.problems


def every_point(points: dict[str, list[str]]) -> list[Plan]:
    """Plans that together kill at every point once; each step's kill comes with others during its recovery."""
    forward, back = points[FORWARD], [name for name in points[BROKEN] if name not in points[FORWARD]]
    steps = [name for name in forward if _turns_back(name)]
    asked = [name for name in forward if name.startswith(("REQUESTED", "ACCEPTED"))]
    plans = [
        Plan(FORWARD, (*asked, "PREFLIGHT.before", "PREFLIGHT.intent", "PREFLIGHT.effect")),
        Plan(FORWARD, ("PREFLIGHT.done", "HOLD.before")),
        Plan(FORWARD, ("RELEASED.done", "BAKE.resumed", "BAKE.judged")),
        Plan(FORWARD, ("RELEASED.opened", "COMMITTED.before", "COMMITTED.within")),
        Plan(FORWARD, ("BAKE.begun", "COMMITTED.done")),
        *(Plan(FORWARD, (name,)) for name in forward if name.startswith("TERMINAL")),
        Plan(CLOSES, ("CLOSED.before", "CLOSED.done")),
        Plan(DIES, tuple(name for name in points[DIES] if name.startswith("SETTLE"))),
        Plan(LATE, ("RB_FENCE.effect", "RB_CHOOSE.before", "RB_START.effect")),
    ]
    plans += [Plan(FORWARD, (first, *back[index :: len(steps)])) for index, first in enumerate(steps)]
    return plans


def _turns_back(name: str) -> bool:
    """Killed here, the swap is rolled back: after HOLD's intent and before the release."""
    names = ("HOLD", "DRAIN", "FENCE", "CLONE", "START", "PROBE")
    return (name.split(".")[0] in names and name != "HOLD.before") or name == "RELEASED.before"


def random_plan(points: dict[str, list[str]], dice: random.Random) -> Plan:
    """Any scenario, any of its points, in three of ten cases a second kill during recovery."""
    scenario = dice.choices((*SCENARIOS[:4], DIES), weights=(6, 4, 3, 1, 1))[0]
    first = dice.choice(points[scenario])
    again = sorted(set(points[BROKEN] + points[LATE] + points[FORWARD]))
    return Plan(scenario, (first, dice.choice(again)) if dice.random() < 0.3 else (first,))


def run_all(
    folder: Path,
    images: Images,
    make: Callable[[dict[str, list[str]]], list[Plan]],
    workers: int = 2,
    scenarios: Sequence[str] = SCENARIOS,
) -> tuple[dict[str, list[str]], list[Result]]:
    """Discover the points, then run the plans on `workers` installations at a time."""
    results: list[Result] = []
    with rig_in(folder / "first", images, bake_seconds=0.3, bake_turns=6) as rig:
        rig.install()
        points = discover(rig, scenarios)
    queue = make(points)
    lock = threading.Lock()

    def work(number: int) -> None:
        place = 0
        while queue:
            place += 1
            with rig_in(folder / f"worker-{number}-{place}", images, bake_seconds=0.3, bake_turns=6) as rig:
                rig.install()
                while _next_plan(rig):
                    pass

    def _next_plan(rig: Rig) -> bool:
        """False when there is none, or when the trial left an installation that is not to be used again."""
        with lock:
            if not queue:
                return False
            plan = queue.pop(0)
        try:
            result = Trial(rig, plan).run()
        except (AssertionError, Refused, Unreachable, OSError) as error:
            result = Result(plan, problems=[f"{type(error).__name__}: {error}; {rig.tail()}"])
        with lock, (folder / "results.jsonl").open("a") as log:
            results.append(result)
            log.write(json.dumps(asdict(result)) + "\n")
        return not result.problems

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        queue.clear()  # when interrupted, the trials under way end and clean up
        for thread in threads:
            thread.join()
    return points, results


__all__ = [
    "GOOD_KINDS",
    "Plan",
    "Result",
    "Trial",
    "discover",
    "every_point",
    "random_plan",
    "run_all",
    "until",
]
