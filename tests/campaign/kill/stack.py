"""Engine: SIGKILL of the real gateway, the real broker, the real cloud and its database, under load, again and again.

A stack is started once and suffers about eight kills; then the link is healed, the machine stopped, the queue drained,
and the oracle counts. Stacks alternate between SQLite and PostgreSQL, and between link faults in the kernel (network
namespaces and nftables) and in a proxy that knows MQTT.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from tests.campaign.kill import network
from tests.campaign.kill.oracle import Truth, Verdict, judge
from tests.campaign.kill.parts import Stack, StuckError, eventually
from tests.campaign.result import Result

SUBJECT: Final = "gateway, mosquitto, cloud and database as processes, 500–2,000 facts/s"
KILLS: Final = 8
"""Kills that share one stack."""
BACKUP_AT, RESTORE_AT = 1, 5
"""Place of the cycles within a stack in which one side is backed up, and put back."""
EDGE_POINTS: Final = (
    "edge.before_commit", "edge.after_commit", "edge.before_apply", "edge.after_apply", "edge.before_begin",
    "edge.after_begin", "edge.before_publish", "edge.after_publish", "edge.before_checkpoint",
)  # fmt: skip
TURN_POINTS: Final = ("edge.before_turn", "edge.after_turn")
"""Reached when a session begins with a long backlog, so the link is cut first until there is one."""
BACKLOG: Final = 20_500
CLOUD_POINTS: Final = ("cloud.before_commit", "cloud.after_commit_before_receipt")
STARTING: Final = ("edge.before_begin", "edge.after_begin")
"""Reached once in a life."""
KERNEL_FAULTS: Final = ("cut", "black hole up", "black hole down", "reset", "loss of 30 %")
PROXY_FAULTS: Final = ("cut", "reset", "black hole both ways", "black hole up", "black hole down", "PUBACK swallowed", "publish twice", "delay")  # fmt: skip
BOUND_S: Final = 120.0
"""A condition that takes longer has failed; nothing here is a measure of speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """What one kill looks like: drawn from the seed before anything happens."""

    seed: int
    target: str
    failpoint: str
    """"" for a random moment."""
    wait_s: float
    down_s: float
    link: str
    """Fault of the link meanwhile, or ""."""
    again_s: float
    """So long after its restart it is killed a second time; 0 for once only."""
    pause: str
    """Part that is stopped with SIGSTOP and goes on, before the kill; or ""."""
    pause_s: float


def draw(seed: int, *, on_postgresql: bool, in_namespace: bool) -> Cycle:
    rng = random.Random(seed)
    targets = ["gateway"] * 5 + ["broker"] * 2 + ["cloud"] * 2 + ["database" if on_postgresql else "gateway"]
    target = rng.choice(targets)
    points = {"gateway": EDGE_POINTS, "cloud": CLOUD_POINTS}.get(target, ())
    failpoint = ""
    if points and rng.random() < 0.5:
        point = rng.choice(points)
        failpoint = f"{point}:{1 if point in STARTING else rng.choice([1, 1, 2, 3, 5, 8, 13])}"
        if target == "gateway" and rng.random() < 0.06:
            failpoint = f"{rng.choice(TURN_POINTS)}:1"
    faults = KERNEL_FAULTS if in_namespace else PROXY_FAULTS
    return Cycle(
        seed=seed,
        target=target,
        failpoint=failpoint,
        wait_s=rng.uniform(0.05, 1.0),
        down_s=rng.choice([0.0, 0.0, rng.uniform(0.1, 1.0)]),
        link=rng.choice(faults) if rng.random() < 0.4 else "",
        again_s=rng.uniform(0.1, 2.0) if rng.random() < 0.2 else 0.0,
        pause=rng.choice(["gateway", "broker", "cloud"]) if rng.random() < 0.12 else "",
        pause_s=rng.choice([0.5, 1.5, 3.0]),
    )


def run(*, count: int, seed: int, state: Path | None, log: Callable[[str], None]) -> Result:
    """Kill `count` times; each seed is one kill, now and then with a second one inside its recovery."""
    began = time.monotonic()
    why_not = network.why_not()
    runs: list[_Run] = []
    first = seed
    while first < seed + count:
        end = min((first // KILLS + 1) * KILLS, seed + count)
        runs.append(_Run(range(first, end), namespaces=not why_not, state=state, log=log))
        runs[-1].run()
        first = end
    recoveries = sorted(took for one in runs for took in one.recoveries)
    worst = {"uncommitted scans at a kill": float(max((one.verdict.uncommitted for one in runs), default=0))}
    if recoveries:
        worst |= {"s from a restart to progress": recoveries[-1]}
    sums: Counter[str] = Counter()
    for one in runs:
        found = one.verdict
        sums.update({"records produced": found.produced, "stored": found.stored, "waiting": found.waiting})
        sums.update(
            {"declared lost": found.declared, "destroyed with a restored store, shown as suspect": found.suspect}
        )
        sums.update({"destroyed with it before they were announced": found.unannounced})
        sums.update({f"declared as {reason}": lost for reason, lost in found.reasons.items()})
        sums.update(one.happened)
    return Result(
        engine="stack kills",
        subject=SUBJECT,
        count=sum(one.done for one in runs),
        violations=[said for one in runs for said in one.violations],
        faults=sum((one.faults for one in runs), Counter[str]()),
        seeds=(seed, seed + count - 1),
        seconds=time.monotonic() - began,
        sums=sums,
        worst=worst,
        notes=[f"link faults by proxy only: {why_not}"] if why_not else [],
    )


class _Run:
    """One stack from its start to the oracle."""

    def __init__(self, seeds: range, *, namespaces: bool, state: Path | None, log: Callable[[str], None]) -> None:
        place = seeds[0] // KILLS
        self.seeds, self.state, self.log = seeds, state, log
        self.on_postgresql = place % 2 == 1
        self.in_namespace = namespaces and place // 2 % 2 == 0
        rng = random.Random(place)
        self.period_ms = rng.choice([50, 100, 100, 200])
        self.restore = rng.choice(["gateway", "cloud", "cloud", ""])
        self.safe = rng.choice(["stored", "backup"])
        self.done = 0
        self.faults: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.violations: list[str] = []
        self.recoveries: list[float] = []
        self.verdict = Verdict()
        self.truth = Truth()
        self._restored = ""
        """The side that was put back to an earlier moment, if any."""
        self._cycle: Cycle | None = None
        self._started = time.monotonic()

    def run(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="triflow-stack-"))
        try:
            self._run_in(folder)
            if self.violations and self.state is not None:
                shutil.copytree(folder, self.state / f"stack-{self.seeds[0]}", dirs_exist_ok=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run_in(self, folder: Path) -> None:
        stack = Stack(
            folder / "stack",
            on_postgresql=self.on_postgresql,
            in_namespace=self.in_namespace,
            period_ms=self.period_ms,
            safe=self.safe,
            number=os.getpid() % 16_384,
        )
        try:
            with stack:
                for seed in self.seeds:
                    cycle = draw(seed, on_postgresql=self.on_postgresql, in_namespace=self.in_namespace)
                    if self.restore and seed == self.seeds[0] + RESTORE_AT:
                        cycle = replace(cycle, target=self.restore, failpoint="")
                    self._cycle = cycle
                    self._suffer(stack, cycle)
                    self.done += 1
                self._settle(stack)
                stack.stop("gateway")
                self.truth.look(stack.folder / "data")
                stack.stop("cloud")
                url = f"sqlite:///{stack.folder / 'cloud.db'}" if stack.database is None else stack.database_url
                self.verdict = judge(url, self.truth, restored=self._restored == "gateway")
                self._say(self.verdict.violations)
                if self.violations:
                    stack.keep_database()
        except Exception as error:  # noqa: BLE001 - whatever it was, the seeds that showed it are told with the rest
            self._say([f"{type(error).__name__}: {error}\n{stack.words()}"])
        self.happened.update(stack.happened)
        self._evidence({"oracle": self.verdict.plain(), "stack": [self.seeds[0], self.seeds[-1]]})

    def _say(self, violations: list[str]) -> None:
        where = f"{'PostgreSQL' if self.on_postgresql else 'SQLite'}, {'kernel' if self.in_namespace else 'proxy'}, safe={self.safe}"
        newest = self._cycle.seed if self._cycle else self.seeds[0]
        self.violations += [f"seeds {self.seeds[0]}–{newest} ({where}): {said}" for said in violations]

    # ── one cycle ──

    def _suffer(self, stack: Stack, cycle: Cycle) -> None:
        stack.look_after()
        if self.restore and cycle.seed == self.seeds[0] + BACKUP_AT:
            stack.back_up(self.restore)
            self.happened[f"backups of a running {self.restore}"] += 1
        judged = stack.judged()
        if cycle.link:
            stack.disturb(cycle.link)
            self.faults[f"link: {cycle.link} ({'kernel' if self.in_namespace else 'proxy'})"] += 1
            if cycle.target != "gateway":
                self._until(stack, lambda: stack.judged() > judged, "verdicts while the link is broken")
        if cycle.pause and cycle.pause in stack.processes:
            stack.pause(cycle.pause, cycle.pause_s)
            self.faults[f"SIGSTOP and SIGCONT: {cycle.pause}"] += 1
        self._kill(stack, cycle)
        restored = self._restore(stack, cycle)
        time.sleep(cycle.down_s)
        stack.start(cycle.target)
        if cycle.again_s:
            time.sleep(cycle.again_s)
            stack.kill(cycle.target)
            self._dead(stack, cycle.target)
            stack.start(cycle.target)
            self.faults["second kill inside recovery"] += 1
        self._started = time.monotonic()
        if cycle.link and cycle.target != "gateway":
            self.happened["verdicts while the link was broken"] += stack.judged() - judged
        stack.heal()
        took = self._until(stack, lambda: self._heard(stack), f"a receipt after the kill of {cycle.target}")
        self.recoveries.append(took)
        self._evidence({**asdict(cycle), "recovery_s": round(took, 2), "restored": restored})
        self.log(f"{cycle.seed}: {cycle.target} {cycle.failpoint or 'at random'} {cycle.link} back after {took:.1f} s")

    def _kill(self, stack: Stack, cycle: Cycle) -> None:
        if not cycle.failpoint:
            time.sleep(cycle.wait_s)
            stack.kill(cycle.target)
            self.faults[f"kill -9: {cycle.target}"] += 1
            self._dead(stack, cycle.target)
            return
        stack.kill(cycle.target)  # the failpoint is set when the process starts
        self.faults[f"kill -9: {cycle.target}"] += 1
        self._dead(stack, cycle.target)
        if cycle.target == "cloud":
            stack.heal()  # nothing to commit behind a broken link
        stack.start(cycle.target, cycle.failpoint)
        point = cycle.failpoint.partition(":")[0]
        if point in TURN_POINTS:
            self._pile_up(stack)
        try:
            eventually(lambda: stack.ended(cycle.target), f"{cycle.failpoint} is reached", BOUND_S / 3)
            self.faults[f"kill -9 at {point}"] += 1
        except StuckError:
            self.faults[f"not reached: {point}"] += 1
        stack.kill(cycle.target)
        self._dead(stack, cycle.target)

    def _pile_up(self, stack: Stack) -> None:
        """Keep the link broken until so much waits that the next session begins with a turn."""
        stack.heal()
        stack.disturb("cut")
        eventually(
            lambda: stack.status().get("store", {}).get("waiting", 0) > BACKLOG, "a backlog piles up", 2 * BOUND_S
        )
        stack.heal()
        self.faults["long outage"] += 1

    def _dead(self, stack: Stack, name: str) -> None:
        """Look at what a killed gateway left on its disk."""
        if name == "gateway":
            self.truth.look(stack.folder / "data")

    def _restore(self, stack: Stack, cycle: Cycle) -> bool:
        """Put the dead side back to its backup, once a stack."""
        if not self.restore or cycle.seed != self.seeds[0] + RESTORE_AT:
            return False
        stack.restore(self.restore)
        self._restored = cycle.target
        self.faults[f"{cycle.target} restored from a backup"] += 1
        return True

    def _settle(self, stack: Stack) -> None:
        """Heal everything, stop the machine, and wait until nothing waits any more."""
        stack.heal()
        stack.still_machine()
        for name in ("broker", "cloud", "gateway"):
            if name not in stack.processes:
                stack.start(name)
        self._until(
            stack, lambda: self._heard(stack) and stack.status()["store"]["waiting"] == 0, "the queue is drained"
        )

    def _heard(self, stack: Stack) -> bool:
        """Tell whether the gateway got a receipt since the part was started again, and not long ago."""
        said = stack.status().get("uplink", {})
        age = said.get("last_receipt_age_s")
        since = time.monotonic() - self._started
        return said.get("state") == "streaming" and age is not None and age < min(since, 5.0)

    def _until(self, stack: Stack, true: Callable[[], object], what: str) -> float:
        def looked_after() -> object:
            stack.look_after()
            return true()

        return eventually(looked_after, what, BOUND_S)

    def _evidence(self, line: dict[str, object]) -> None:
        if self.state is not None:
            with (self.state / "stack-kills.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"database": "postgresql" if self.on_postgresql else "sqlite", **line}) + "\n")
