"""One seed from its plan to its verdict: disturb, heal, demand quiet, ask the oracle."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sync.effects import State
from tests.campaign.simulation.broker import Broker
from tests.campaign.simulation.cloud import Cloud
from tests.campaign.simulation.faults import YEAR, Faults
from tests.campaign.simulation.gateway import Box
from tests.campaign.simulation.installation import installation
from tests.campaign.simulation.oracle import Oracle
from tests.campaign.simulation.plan import Plan, S
from tests.campaign.simulation.truth import Truth
from tests.campaign.simulation.weather import Weather
from tests.campaign.simulation.world import EPOCH, ViolationError, World

CHECK_EVERY: Final = 64
QUIET_EVERY: Final = 2 * S


@dataclass(slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    violations: list[str]
    digest: str
    faults: Counter[str]
    records: int
    messages: int
    events: int
    virtual_s: float
    healed_in_s: float
    tail: list[str] = field(default_factory=list)
    plan: Plan | None = None


class Simulation:
    """The world of one seed with everything in it."""

    box_kind: type[Box] = Box
    cloud_kind: type[Cloud] = Cloud
    most_events: int = 60_000
    """More than that is a circle."""

    def __init__(self, plan: Plan, *, keep: bool = False) -> None:
        made = installation()
        self.world = world = World(plan, keep=keep)
        self.weather = Weather(world)
        self.broker = Broker(world, self.weather)
        self.truth = Truth(world)
        self.cloud = self.cloud_kind(world, self.weather, self.broker, made)
        self.boxes: list[Box] = []
        self.twins: list[tuple[Box, Box]] = []
        """Pairs of which a person ends one when the world heals."""
        self.oracle = Oracle(self)
        self.faults = Faults(self)
        self.violations: list[str] = []
        self._quiet = False
        self._healed_at = 0
        if plan.has("many_starts"):
            world.count("many_starts")
        for where in range(plan.gateways):
            box = self.add_box(where, f"gw-{where}")
            if plan.has("boot_1970"):
                world.count("boot_1970")
                box.clock.offset = -EPOCH - world.now + 100 * S
                world.after(world.chance("sync").randrange(S, plan.horizon), self._set_clock, box)
            world.after(world.chance("start").randrange(2 * S), box.start)

    def add_box(self, where: int, name: str) -> Box:
        """Put up a machine; it is not switched on yet."""
        taken = {box.name for box in self.boxes}
        while name in taken:
            name += "'"
        box = self.box_kind(self.world, self.weather, self.broker, self.truth, installation(), where, name)
        self.boxes.append(box)
        return box

    def _set_clock(self, box: Box) -> None:
        if abs(box.clock.offset) > YEAR * 5:
            box.clock.offset = 0

    def crash(self, box: Box) -> None:
        """End a gateway's process; what it committed is on disk."""
        box.kill()

    # --- phases ---

    def run(self) -> Outcome:
        """Give what became of this seed."""
        plan, world = self.world.plan, self.world
        self._load(plan)
        self.faults.schedule()
        world.at(plan.horizon, self._heal)
        quiet_at = 0
        try:
            self._run()
            quiet_at = world.now
            self._meet_again()
            self.cloud.settle()
            self._drain()
            self.oracle.final()
        except ViolationError as violation:
            self.violations.append(str(violation))
        except Exception as error:  # noqa: BLE001 - whatever the product raises in here is a finding
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.violations.append(
                f"{type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})"
            )
            world.say("raised", "".join(traceback.format_exception(error)).strip())
        for violation in self.violations:
            world.say("VIOLATION", violation)
        self.close()
        return Outcome(
            seed=plan.seed,
            violations=self.violations,
            digest=world.digest(),
            faults=world.faults,
            records=self.truth.records,
            messages=self.broker.messages,
            events=world.events,
            virtual_s=world.now / S,
            healed_in_s=max(0, quiet_at - plan.horizon) / S,
            tail=list(world.tail) if self.violations or world.tail.maxlen is None else [],
            plan=plan,
        )

    def _load(self, plan: Plan) -> None:
        chance = self.world.chance("times")
        for _ in range(plan.commits):
            self.world.at(chance.randrange(plan.horizon), self._commit, chance.randrange(plan.gateways))
        for number in range(1, 9):
            self.world.at(plan.horizon * number // 9, self._snapshots)
        for number in range(1, 7):
            self.world.at(plan.horizon * number // 7 + chance.randrange(S), self.cloud.back_up)

    def _commit(self, where: int) -> None:
        boxes = [box for box in self.boxes if box.where == where and box.alive]
        if boxes:
            self.world.chance("who").choice(boxes).commit()

    def _snapshots(self) -> None:
        for box in self.boxes:
            box.snapshot()

    def _heal(self) -> None:
        world = self.world
        world.say("world", "heals")
        self._healed_at = world.now
        world.healed = True
        self.weather.clear()
        self.cloud.open_windows()
        for box, twin in self.twins:
            loser = self.world.chance("person").choice((box, twin))
            if not box.gone and not twin.gone:
                loser.destroy()
        for box in self.boxes:
            box.damage_next = False
            if not box.gone:
                box.pressure(-1.0)
                box.restart_later(2 * S)
                if box.alive:
                    box.connect_later()
        for number in (1, 2):  # life goes on
            for box in self.boxes:
                world.after(number * 40 * S, box.commit)
        world.after(100 * S, self._ask_for_quiet)

    def _run(self) -> None:
        world = self.world
        self._quiet = False
        while not self._quiet:
            if not world.step():
                raise ViolationError("I-10 nothing happens any more, and it is not quiet")
            if world.events % CHECK_EVERY == 0:
                self.oracle.glance()
            if world.events > self.most_events:
                raise ViolationError(f"I-10 {self.most_events} events and no end: something turns in a circle")

    def _meet_again(self) -> None:
        """Have a person decide between boxes of one identity, and everybody resume once more.

        What a box that is gone announced last, or was in doubt while two boxes spoke, is told only then.
        """
        for where in self.cloud.conflicts():
            boxes = [box for box in self.boxes if box.where == where and box.alive]
            kept = self.world.chance("person").choice(boxes)
            self.cloud.keep(where, kept.outbox.incarnation)
            for box in boxes:
                if box is not kept:
                    box.destroy()
        self.broker.restart(S)
        self._healed_at = self.world.now
        self.world.after(5 * S, self._ask_for_quiet)
        self._run()

    def _ask_for_quiet(self) -> None:
        missing = list(self.unquiet())
        if not missing:
            self._quiet = True
            self.world.say("world", "is quiet")
        elif self.world.now > self._healed_at + self.world.plan.bound:
            raise ViolationError(
                f"I-10 not quiet {self.world.plan.bound / S:.0f} s after the healing: {'; '.join(missing)}"
            )
        else:
            self.world.after(QUIET_EVERY, self._ask_for_quiet)

    def unquiet(self) -> Iterator[str]:
        """Say what is still to come."""
        for box in self.boxes:
            if box.gone:
                continue
            if not box.alive or box.session is None:
                yield f"{box.name} is not connected"
                continue
            cursor = box.session.cursor
            if cursor.state is not State.STREAMING or cursor.in_flight():
                yield f"{box.name} is {cursor.state.value} with {cursor.in_flight()} in flight"
            for start in box.outbox.books.starts.values():
                for lane in start.lanes.values():
                    if lane.stored < lane.last:
                        yield f"{box.name} {start.inc[:6]}/{int(lane.stream)} {lane.stored} of {lane.last}"
        for worker in self.cloud.workers:
            if not worker.alive or worker.inbox:
                yield f"cloud-{worker.number} is not done"

    def _drain(self) -> None:
        """Let what is on its way arrive: it must change nothing that counts."""
        end = self.world.now + 10 * S
        while self.world._heap and self.world._heap[0][0] <= end:
            self.world.step()

    def close(self) -> None:
        self.cloud.close()
        for box in self.boxes:
            box.disk.close()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep the product's log out of the way: tens of thousands of broken worlds have much to say."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def simulate(plan: Plan, *, kind: Callable[..., Simulation] = Simulation, keep: bool = False) -> Outcome:
    """Run a plan to its end."""
    with silent():
        return kind(plan, keep=keep).run()
