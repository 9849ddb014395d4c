"""One swap under traffic with kills at named points, of the promoter and of others; then the questions at rest.

`Trial.run` returns every violation it saw; an empty list is the promise kept.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from promote_rig import Rig
from promote_strikes import VICTIMS, Strike, Striker, Victim
from promote_traffic import Traffic

from containers.runtime import RuntimeBroken
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
_TRIAL_SECONDS = 180.0
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """One scenario; the promoter's n-th incarnation dies at the n-th point of `kills`, the one after the last lives.
    Each strike comes when its point is reached for the first time since the promoter's start."""

    scenario: str
    kills: tuple[str, ...] = ()
    strikes: tuple[Strike, ...] = ()


@dataclass
class Result:
    plan: Plan
    state: str = ""
    hit: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    requests: int = 0


def looks_every(rig: Rig) -> float:
    """Seconds. An engine works for each look at its containers."""
    return 0.02 if rig.images.docker is None else 0.1


class Overlap:
    """Looks for two live instances at one time, as fast as it can, while the block lasts."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self._stop, self.seen = rig, threading.Event(), ""
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        labels = {"evolve.service": self._rig.service, "evolve.role": "live"}
        while not self._stop.wait(looks_every(self._rig)):
            try:
                running = [i.name for i in self._rig.runtime.find(labels) if i.status().running]
            except RuntimeBroken:
                continue  # the engine was struck
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

    def __init__(
        self,
        rig: Rig,
        plan: Plan,
        points: Path | None = None,
        victims: Mapping[str, Victim] = VICTIMS,
    ) -> None:
        """`points`: where the points that were passed are written."""
        self.rig, self.plan, self._victims = rig, plan, victims
        self.result = Result(plan)
        self._left, self._strikes = list(plan.kills), list(plan.strikes)
        self._points = points or rig.home / f"points-{new_id()}"
        self._spent: SignedApproval | None = None
        self._bundle = Path()

    def run(self) -> Result:
        started = time.monotonic()
        rig = self.rig
        before = rig.live_image()
        target = before if self.plan.scenario in (BACK, DIES) else self._target(before)
        striker = Striker(rig, self._points, self._strikes, self.result.hit, self._victims)
        with (
            Traffic(rig, clients=3, pause=0.04, again=self._struck("edge")) as traffic,
            Overlap(rig) as overlap,
        ):
            rig.kill_promoter()
            with striker:
                self._start()
                record = self._drive(target)
                self._settle()
                self._disarm()
        self.result.problems += [said for said in (overlap.seen, striker.trouble) if said]
        self.result.problems += traffic.lost_or_doubled()
        self.result.requests = len(traffic.sent)
        self._check(before, target, record)
        statuses = {item.status for item in traffic.sent}
        if self.plan.scenario != LATE and statuses != {200}:
            self.result.problems.append(f"lost: replies {statuses}")
        self.result.seconds = time.monotonic() - started
        return self.result

    def _struck(self, victim: str) -> bool:
        return any(who == victim for who, _ in self.plan.strikes)

    def _target(self, before: str) -> str:
        kind = self.plan.scenario
        if kind == FORWARD and before == self.rig.images.digest(FORWARD):
            kind = "base"
        return self.rig.images.digest(kind)

    def _start(self) -> None:
        env = {"PROMOTE_POINTS": str(self._points)}
        if self._left:
            env["PROMOTE_KILL_AT"] = self._left[0] if ":" in self._left[0] else f"{self._left[0]}:1"
        if self._strikes:
            env["PROMOTE_STOP_AT"] = ",".join({point for _, point in self._strikes})
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
        elif code == 5 and self._struck("engine"):
            time.sleep(0.5)  # as a supervisor would: it ends where no engine answers
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
            if found is None and self._struck("engine"):
                return None  # nobody could look at the image; asked again
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
        rest_since, seen = 0.0, ""
        end = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < end:
            self._revive()
            try:
                status, edge = self.rig.client.status(), self.rig.edge.status()
                at_rest = status["open"] is None and not edge.held and not status["problem"]
                alive = self._writers() == [self.rig.live_image()] if at_rest else False
                seen = f"{status} {edge}"
            except (Unreachable, RuntimeBroken):
                rest_since = 0.0
                time.sleep(looks_every(self.rig))
                continue
            if not alive:
                rest_since = 0.0
            elif not rest_since:
                rest_since = time.monotonic()
            elif time.monotonic() - rest_since > 0.15:
                return
            time.sleep(looks_every(self.rig))
        self.result.problems.append(f"no rest: {seen} {self.rig.tail()}")

    def _disarm(self) -> None:
        """A point that the trial never came to must not kill the promoter while it is questioned."""
        if self._left or self._strikes:
            self._left.clear()
            self._strikes.clear()
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
