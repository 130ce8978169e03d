"""A gateway in the simulation: a box with a disk, a process on it that may end at any time, and what happens to both.

The disk is a SQLite in memory; the process is the product's `Outbox` and `Cursor` on it. A crash throws the process
away and keeps the disk; a restore takes an older disk; a clone and a resumed memory image take a copy of either.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw

from edge.store.chunks import request
from edge.store.disk import FullError
from edge.store.outbox import Outbox
from sync.cursor import Cursor
from sync.effects import Apply, Backlog
from sync.frames import Incarnation, Witness
from sync.timing import UNSET_BEFORE_NS, ClockState
from tests.campaign.simulation.broker import Broker
from tests.campaign.simulation.installation import ADDRESSES, Installation, signer
from tests.campaign.simulation.older import as_protocol_1
from tests.campaign.simulation.plan import MS, S
from tests.campaign.simulation.truth import Read, Truth
from tests.campaign.simulation.uplink import Session
from tests.campaign.simulation.weather import Weather
from tests.campaign.simulation.world import Clock, ViolationError, World

QUOTA: Final = 64 << 20
PAGE: Final = 4096


@dataclass(slots=True)
class Snapshot:
    """A copy of a box's disk, and with a memory image the process on it."""

    at: int
    disk: bytes
    read: Read
    process: Any = None


class Box:
    """One machine that carries a gateway's identity."""

    outbox_kind: type[Outbox] = Outbox
    cursor_kind: type[Cursor] = Cursor

    def __init__(
        self, world: World, weather: Weather, broker: Broker, truth: Truth, made: Installation, where: int, name: str
    ) -> None:
        self.world, self.weather, self.broker, self.truth = world, weather, broker, truth
        self.where, self.name = where, name
        self.address = ADDRESSES[where]
        self.clock = Clock(world, started=world.now)
        self.old = world.plan.has("old_gateway") and world.chance("old").random() < 0.7
        self.disk = opened(made.edge)
        self.disks = 0
        """Counts how often another disk took the place of the one before."""
        self.read = Read()
        self.outbox: Outbox
        self.session: Session | None = None
        self.alive = False
        self.gone = False
        """Taken out of service for ever; its disk is destroyed."""
        self.life = 0
        """Counts processes: what belongs to an earlier one is dropped."""
        self.snapshots: list[Snapshot] = []
        self.dictionary = 0
        self.signer = signer(name)
        self.box_id = hashlib.sha256(name.encode()).hexdigest()[:32]
        self.least_quota = 0
        """A quota below this cannot be kept: there is nothing left that may be shed."""
        self._known_dictionary = False
        self._busy_until = 0

    @property
    def client(self) -> str:
        return f"{self.address.gateway}.{self.outbox.incarnation[:8]}"

    # --- process ---

    def start(self) -> None:
        """Start the process on the disk there is."""
        if self.gone or self.alive:
            return
        self.alive = True
        self.life += 1
        self._known_dictionary = False
        self.outbox = self.make_outbox()
        self.begin()
        self.world.say(self.name, f"starts as {self.outbox.incarnation[:6]}")
        self.read_back()
        self.connect_later()

    def begin(self) -> None:
        self.outbox.begin(self.world.token(f"inc/{self.name}"), "simulated")

    def make_outbox(self) -> Outbox:
        return self.outbox_kind(
            self.disk, clock=self.clock, quota_bytes=QUOTA, path=None, clock_state=self._clock_state
        )

    def _clock_state(self) -> ClockState:
        sync = "synced" if abs(self.clock.offset) < S else "free"
        return ClockState("unset" if self.clock.now() < UNSET_BEFORE_NS else sync, self.world.now - self.clock.started)

    def kill(self) -> None:
        """The process ends, as by kill -9: nothing of it stays but the disk."""
        if not self.alive:
            return
        self.alive = False
        self.life += 1
        if self.session is not None:
            self.session.open = False
            self.broker.leave(self.session.link)
            self.session = None
        if self.disk.in_transaction:
            raise ViolationError(f"{self.name}: a transaction was left open")

    def restart_later(self, most: int = 10 * S) -> None:
        self.world.after(self.world.chance(f"restart/{self.name}").randrange(50 * MS, most), self.start)

    def snapshot(self) -> None:
        """Keep a copy of the disk, as a backup would, and what a hypervisor would keep of the process."""
        if self.gone or not self.alive:
            return
        self.snapshots.append(Snapshot(self.world.now, self.disk.serialize("main"), self.read.copy()))
        if len(self.snapshots) > 6:
            del self.snapshots[self.world.chance("keep").randrange(3)]

    def set_disk(self, content: bytes, read: Read) -> None:
        self.disks += 1
        self.disk.close()
        self.disk = opened(content)
        self.read = read.copy()

    def destroy(self) -> None:
        """The box is no more, and its disk neither."""
        self.kill()
        self.gone = True
        self.world.say(self.name, "is no more")

    # --- connection ---

    def connect_later(self) -> None:
        longest = 10 * S if self.world.healed else max(10 * S, self.world.plan.horizon // 300)
        wait = self.world.chance(f"backoff/{self.name}").randrange(S // 2, longest)
        self.world.after(wait, self._connect, self.life)

    def _connect(self, life: int) -> None:
        if life != self.life or not self.alive or self.session is not None:
            return
        session = Session(self, life, self.make_cursor())
        if not self.broker.connect(session.link):
            self.connect_later()
            return
        self.session = session
        self.world.say(self.name, "connected")
        session.begin()

    def make_cursor(self) -> Cursor:
        return self.cursor_kind(
            self.outbox.incarnation,
            "simulated",
            token=lambda: self.world.token(f"session/{self.name}", 8),
            box=self.box_id,
            public_key=self.signer.public_key.hex(),
        )

    def named(self, after: int, *, done: bool = False) -> tuple[list[Incarnation], bool]:
        """Give the holdings above an incarnation's order, as many as a frame takes; there are few in some seeds."""
        return self.outbox.holdings(3 if self.world.plan.has("many_starts") else 128, after, done=done)

    def backlog(self) -> Backlog:
        """Give what the readings of the present incarnation have that the cloud has not confirmed."""
        return self.outbox.backlog()

    def due(self, cursor: Cursor) -> int | None:
        """Give when a tick would do something, on the monotonic clock."""
        return cursor.due

    def outgoing(self, frame: Any, body: bytes) -> tuple[Any, bytes]:
        """Give what really goes out: an old gateway says less, and a body may be damaged in memory."""
        if self.old:
            self.world.count("old_gateway")
            frame = as_protocol_1(frame)
        if body and self.damage_next:
            self.damage_next = False
            self.world.count("damaged_body")
            body = bytes([body[0] ^ 0xFF]) + body[1:]
        return frame, body

    damage_next = False

    def published(self, session: Session, frame: Any) -> None:
        """The broker acknowledged a message: that proves nothing, and nothing follows."""

    # --- the store's queue ---

    def ask(self, what: Callable[..., None], *arguments: Any) -> None:
        """Have the store do something, after what it does already; not at all when the process ends before."""
        delay = self.world.chance("store").randrange(50_000, 5 * MS)
        self._busy_until = max(self._busy_until, self.world.now + delay)
        self.world.at(self._busy_until, self._answer, self.life, what, arguments)

    def _answer(self, life: int, what: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if life == self.life and self.alive:
            what(*arguments)

    def apply(self, effect: Apply, witnessed: Sequence[Witness]) -> bool:
        """Take what the cloud confirmed; tells whether some of it is another copy's."""
        foreign = self.outbox.apply(effect.watermarks, effect.rejected, witnessed)
        self.read_back()
        return bool(foreign)

    def commit(self) -> None:
        """Record something."""
        if not self.alive:
            return
        plan = self.world.plan
        wall = self.clock.now()
        facts, readings, uids = self.truth.draw(wall, plan.facts, self.name)
        dictionary = None
        if readings and (not self._known_dictionary or self.world.chance("dictionary").random() < 0.1):
            self.dictionary += self._known_dictionary
            dictionary = self.truth.dictionary(wall, self.dictionary)
        call = request(facts, readings, dictionary, {}, self._known_dictionary)
        try:
            self.outbox.commit([call])
        except FullError:
            self.world.say(self.name, "no room for a commit")
            self.world.count("disk_full")
            return
        self._known_dictionary = self._known_dictionary or dictionary is not None
        found = self.read_back()
        if found != uids:
            raise ViolationError(f"I-1 {self.name}: committed {sorted(uids)}, on disk {sorted(found)}")
        last = " ".join(f"{int(s)}:{n}" for s, n in sorted(self.outbox.last.items()))
        self.world.say(self.name, f"committed {len(uids)} → {last}")
        if self.session is not None:
            self.session.grown()

    def read_back(self) -> set[int]:
        """Take what is on the disk now into the truth."""
        return self.truth.read(self.disk, self.read, str(self.address), self.name)

    def turn(self, why: str, forked: bool = False) -> None:
        """Go on under a new incarnation, in the same process."""
        if not self.alive:
            return
        self.outbox.turn(self.world.token(f"inc/{self.name}"), why, forked=forked)
        self.world.say(self.name, f"turns into {self.outbox.incarnation[:6]}: {why}")
        self.read_back()
        if self.session is not None:
            self.session.turned(self.outbox.incarnation)

    def pressure(self, strength: float) -> None:
        """Leave the outbox hardly more room than it uses; None of strength gives it back."""
        if self.alive:
            disk = self.outbox.disk
            disk._quota_bytes = QUOTA if strength < 0 else disk.used() + int(strength * 6) * PAGE

    # --- memory images ---

    def copy_process(self) -> tuple[apsw.Connection, Outbox]:
        """Give disk and process as a hypervisor keeps them; the connection of the copy is one of its own."""
        disk = opened(self.disk.serialize("main"))
        return disk, copy.deepcopy(self.outbox, {id(self.disk): disk})

    def __deepcopy__(self, memo: object) -> Box:
        return self  # the process knows its machine; only the process is copied

    def resume(self, image: Snapshot) -> None:
        """Go on from an image: the same incarnation, the same numbers; only the connection is a new one."""
        self.disk.close()
        self.disks += 1
        disk, outbox, known_dictionary = image.process
        self.disk, self.outbox, self.read = disk, outbox, image.read.copy()
        self._known_dictionary = known_dictionary
        outbox._clock = self.clock
        self.life += 1
        self.alive = True
        self.connect_later()


def opened(content: bytes) -> apsw.Connection:
    """Give a connection to a disk of its own."""
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", content)
    connection.pragma("foreign_keys", "on")
    return connection
