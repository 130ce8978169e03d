"""The cloud in the simulation: the product's door and ingest over a real SQLite in memory, one or two workers of it.

What the asyncio shell does between them (queue, gather, commit, answer) is done here by events. A process that ends
takes its sessions, its queue and its unsent answers with it; the database stays, or is a backup's.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cloud.database import DatabaseError, DataError, Sqlite
from cloud.ingest import orphans, presence, safe, wanted
from cloud.ingest.door import WINDOW, Door, Say
from cloud.ingest.items import Committed, Item
from cloud.ingest.store import Ingest
from sync.frames import Batch, Heartbeat, Resume, seal
from sync.topics import Address
from tests.campaign.simulation.broker import Broker, Link
from tests.campaign.simulation.installation import ADDRESSES, KEY, Installation, signer
from tests.campaign.simulation.older import as_an_old_cloud_reads, as_protocol_1
from tests.campaign.simulation.plan import MS, S
from tests.campaign.simulation.weather import Weather
from tests.campaign.simulation.world import Clock, World

GATHER: Final = 20 * MS

Key = tuple[str, str, int]
"""(address, incarnation, stream)."""


@dataclass(slots=True)
class Backup:
    """The cloud's database at some time, and what the simulation knew of it then."""

    at: int
    database: bytes
    announced: dict[Key, int]


class Worker:
    """One ingest process."""

    def __init__(self, cloud: Cloud, number: int) -> None:
        self.cloud, self.number = cloud, number
        world = cloud.world
        self.door = cloud.make_door(number)
        self.ingest = cloud.make_ingest()
        self.inbox: list[Item] = []
        self.alive = True
        self.dies = ""
        """Where in the next transaction the process ends: `before` or `after` its commit; empty for nowhere."""
        self.link = Link(f"cloud-{number}-{world.events}", -2, None, self.arrived, self.unlinked)
        self._connect()

    def _connect(self) -> None:
        if self.alive and not self.cloud.broker.connect(self.link):
            self.cloud.world.after(500 * MS, self._connect)

    def unlinked(self, _why: str) -> None:
        """The broker went away: come again."""
        if self.alive:
            self.link = Link(self.link.client, -2, None, self.arrived, self.unlinked)
            self.cloud.world.after(700 * MS, self._connect)

    def kill(self) -> None:
        self.alive = False
        self.cloud.broker.leave(self.link)

    # --- in ---

    def arrived(self, topic: str, payload: bytes) -> None:
        """A message came."""
        if not self.alive:
            return
        if self.cloud.world.plan.has("old_cloud"):
            self.cloud.world.count("old_cloud")
            payload = as_an_old_cloud_reads(payload)
        for one in self.door.take(topic, payload):
            if isinstance(one, Say):
                self.say(one)
            else:
                if not self.inbox:
                    self.cloud.world.after(GATHER, self.flush)
                self.inbox.append(one)

    def flush(self) -> None:
        """Store what is waiting, in one transaction, as the shell does."""
        if not self.alive or not self.inbox:
            return
        items, self.inbox = self.inbox, []
        if self.dies == "before":
            self.cloud.world.say(f"cloud-{self.number}", "ends before its commit")
            self.cloud.restart_worker(self)
            return
        self.store(items)

    def store(self, items: list[Item]) -> None:
        """Commit and answer; a chunk the database refuses is set aside on its own."""
        try:
            self._commit(items)
        except DataError:
            self.ingest.forget()
            try:
                for item in items:
                    self._alone(item)
            except DatabaseError as error:
                self.ingest.forget()
                self.cloud.world.say(f"cloud-{self.number}", f"cannot store: {error}")
        except DatabaseError as error:
            self.ingest.forget()
            self.cloud.world.say(f"cloud-{self.number}", f"cannot store: {error}")

    def _alone(self, item: Item) -> None:
        try:
            self._commit([item])
        except DataError as error:
            self.ingest.forget()
            if isinstance(item.frame, Batch):
                self._commit([Item(item.address, item.frame, item.body, refused=str(error))])

    def _commit(self, items: list[Item]) -> None:
        done = self.transact(items)
        self.cloud.committed(self, items, done)
        if self.dies == "after":
            self.cloud.world.say(f"cloud-{self.number}", "ends after its commit, before it answers")
            self.cloud.restart_worker(self)
            return
        for say in self.door.told(done):
            self.say(say)

    def transact(self, items: list[Item]) -> Committed:
        """Run the product's transaction. Raises DatabaseError, DataError."""
        database = self.cloud.database
        with database.transaction():
            done = self.ingest.store(database, items)
            if any(self.cloud.weather.strikes("database_down", self.cloud.where(item.address), 1.0) for item in items):
                raise DatabaseError("refused by the simulation")
        return done

    # --- out ---

    def say(self, say: Say) -> None:
        world = self.cloud.world
        world.say(f"cloud-{self.number}", f"→ {say.address.gateway} {brief(say.frame)}")
        world.after(MS, self._publish, say.topic, self.cloud.sealed(self, say))

    def _publish(self, topic: str, payload: bytes) -> None:
        if self.alive and self.link.alive:
            self.cloud.broker.publish(self.link, topic, payload, lambda _how: None)


class Cloud:
    """The database, its backups, and the workers before it."""

    worker_kind: type[Worker] = Worker

    def __init__(self, world: World, weather: Weather, broker: Broker, made: Installation) -> None:
        self.world, self.weather, self.broker = world, weather, broker
        self.plants = made.plants[world.plan.safe]
        self.clock = Clock(world)
        self.database = self._open(made.cloud)
        self.announced: dict[Key, int] = {}
        """Highest number of each stream that a committed frame named: what the cloud can know of."""
        self.backups: list[Backup] = []
        self.backed_up: set[tuple[str, str, int, int]] = set()
        """(address, inc, stream, first) of every chunk that was ever in a verified backup."""
        self.restores = 0
        self.shards = 2 if world.plan.has("two_workers") else 1
        self.turned = 0
        """How often the gateways were dealt out anew."""
        if self.shards > 1:
            world.count("two_workers")
        self.workers: list[Worker] = []
        broker.route = self.route
        for number in range(self.shards):
            self.workers.append(self.worker_kind(self, number))

    @staticmethod
    def _open(content: bytes) -> Sqlite:
        database = Sqlite(":memory:", writer=True)
        database._raw.deserialize(content)
        return database

    def make_door(self, number: int) -> Door:
        world = self.world
        door = Door(
            self.plants.keys,
            clock=self.clock,
            token=lambda: world.token(f"cloud/{number}"),
            public_key=signer("cloud").public_key.hex(),
        )
        door.window = self.window()
        return door

    def make_ingest(self) -> Ingest:
        return Ingest(self.plants, self.clock, signer("cloud"))

    def where(self, address: Address) -> int:
        """Give a gateway's number."""
        return ADDRESSES.index(address)

    def route(self, address: Address) -> Link | None:
        """Give the worker that listens to a gateway; None when nobody is subscribed."""
        if self.weather.holds("nobody_listens", self.where(address)):
            self.world.count("nobody_listens")
            return None
        worker = self.workers[(zlib.crc32(address.gateway.encode()) + self.turned) % self.shards]
        return worker.link if worker.alive and worker.link.alive else None

    def sealed(self, worker: Worker, say: Say) -> bytes:
        if self.world.plan.has("old_cloud"):
            return seal(as_protocol_1(say.frame), KEY)
        return worker.door.seal(say)

    def committed(self, worker: Worker, items: Sequence[Item], done: Committed) -> None:
        """Note what the cloud can know from now on."""
        self.world.say(
            f"cloud-{worker.number}",
            f"committed {len(items)}: {done.chunks} chunks, {done.records} records, {done.duplicates} known,"
            f" {done.early} early, lost {done.lost}, conflicts {done.conflicts}, dead {done.dead_letters}",
        )
        for item in items:
            address = str(item.address)
            match item.frame:
                case Batch() as frame:
                    self._heard((address, frame.inc, frame.stream), frame.last)
                case Resume() as frame:
                    held = frame.incarnations
                case Heartbeat() as frame:
                    held = frame.holdings
                case _:
                    continue
            if not isinstance(item.frame, Batch):
                for one in held:
                    for stream, holdings in one.streams.items():
                        self._heard((address, one.inc, int(stream)), holdings.last)

    def _heard(self, key: Key, last: int) -> None:
        self.announced[key] = max(self.announced.get(key, 0), last)

    # --- faults ---

    def restart_worker(self, worker: Worker) -> None:
        """End a process; systemd starts another one a little later."""
        worker.kill()
        self.world.after(self.world.chance("restart").randrange(S // 2, 20 * S), self._start, worker.number, worker)

    def _start(self, number: int, old: Worker) -> None:
        if self.workers[number] is old:
            self.workers[number] = self.worker_kind(self, number)
            self.world.say(f"cloud-{number}", "starts")

    def reshard(self) -> None:
        """Deal the gateways out to the workers anew: every process starts again."""
        self.turned += 1
        for worker in self.workers:
            worker.kill()
            self._start(worker.number, worker)

    def back_up(self) -> None:
        """Copy the database; it counts when it is verified, a while later."""
        found = Backup(self.world.now, self.database._raw.serialize(), dict(self.announced))
        self.world.after(self.world.chance("backup").randrange(S, 60 * S), self._verified, found, self.restores)

    def _verified(self, backup: Backup, restores: int) -> None:
        if restores != self.restores:  # the database it was taken of is no more
            return
        self.backups.append(backup)
        copy = self._open(backup.database)
        self.backed_up |= chunks_of(copy)
        self.mark_safe(backup, copy)
        copy.close()

    def mark_safe(self, backup: Backup, copy: Sqlite) -> None:
        """Let the product take the watermarks of a verified backup as safe."""
        now_ms = self.clock.now() // MS
        verified = safe.Verified(
            made_ms=now_ms,
            path=f"backup-{backup.at}",
            digest="",
            bytes=len(backup.database),
            marks=safe.watermarks(copy),
        )
        with self.database.transaction():
            moved = safe.raise_safe(self.database, verified, now_ms)
        self.world.say("cloud", f"backup of {backup.at / S:.1f} s verified, {moved} watermarks safe")

    # --- people ---

    def open_windows(self) -> None:
        """Have every worker tell of the window what the weather says."""
        for worker in self.workers:
            worker.door.window = self.window()

    def window(self) -> int:
        return 0 if any(self.weather.holds("window_zero", where) for where in range(len(ADDRESSES))) else WINDOW

    def want(self, where: int, strength: float) -> bool:
        """Ask for records again, as a person would; tells whether there was anything to ask for."""
        address = ADDRESSES[where]
        rows = self.rows(
            "select i.inc, s.stream, s.last from ingest_stream s join incarnation i on i.id=s.inc"
            " join gateway g on g.id=i.gateway where g.name=? and s.last>0 order by 1, 2",
            (address.gateway,),
        )
        if not rows:
            return False
        inc, stream, last = rows[int(strength * len(rows))]
        chance = self.world.chance("want")
        first = chance.randint(1, last)
        span = (first, min(last, first + chance.randrange(40)))
        with self.database.transaction():
            wanted.ask(self.database, address, inc, stream, span, by="a person", now_ms=self.clock.now() // MS)
        self.world.say("person", f"wants {address.gateway} {inc[:6]}/{stream}/{span}")
        return True

    def give_up(self, where: int, *, hasty: bool = False) -> bool:
        """Close the orphans of a gateway on a person's word, or, hastily, whatever is not complete; tells whether any were."""
        address = ADDRESSES[where]
        which = (
            "exists (select 1 from ingest_stream s where s.inc=i.id and s.stored<s.last)"
            if hasty
            else "i.suspect_ms is not null"
        )
        rows = self.rows(
            f"select i.inc from incarnation i join gateway g on g.id=i.gateway where {which} and g.name=? order by i.id",
            (address.gateway,),
        )
        for (inc,) in rows:
            with self.database.transaction():
                lost = orphans.close(self.database, address, inc, by="a person", now_ms=self.clock.now() // MS)
            self.world.say("person", f"gives up {address.gateway} {inc[:6]}: {lost}")
        return bool(rows)

    def conflicts(self) -> list[int]:
        """Give the gateways of which two boxes speak and nobody has decided yet."""
        names = [name for (name,) in self.rows("select name from gateway where identity='conflict' order by id")]
        return [where for where, address in enumerate(ADDRESSES) if address.gateway in names]

    def keep(self, where: int, inc: str) -> None:
        """Decide for the box that speaks as this incarnation, as a person would."""
        address = ADDRESSES[where]
        ((number,),) = self.rows("select id from gateway where name=?", (address.gateway,))
        with self.database.transaction():
            discarded = presence.keep(self.database, number, address.tenant, inc, self.clock.now() // MS)
        self.world.say("person", f"keeps {inc[:6]} of {address.gateway}, not {[one[:6] for one in discarded]}")

    def settle(self) -> None:
        """Close every orphan that is left: by the day that goes by, and on a person's word."""
        if self.world.chance("settle").random() < 0.5:
            self.clock.offset += 25 * 3600 * S
            with self.database.transaction():
                lost = orphans.sweep(self.database, self.clock.now() // MS)
            self.world.say("cloud", f"a day later: {lost}")
        for where in range(self.world.plan.gateways):  # the clock may have been set back for years since
            self.give_up(where)

    # --- reading ---

    def restore(self, backup: Backup) -> None:
        """Put a backup in the database's place; every process starts anew."""
        if self.world.plan.safe == "stored":  # what was committed might be forgotten
            self.backed_up |= chunks_of(self.database)
        self.restores += 1
        self.backups = [one for one in self.backups if one.at <= backup.at]
        self.database.close()
        self.database = self._open(backup.database)
        self.announced = dict(backup.announced)
        self.world.say("cloud", f"restored from the backup of {backup.at / S:.1f} s")
        for worker in self.workers:
            worker.kill()
            self._start(worker.number, worker)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.database.execute(sql, values)

    def close(self) -> None:
        self.database.close()


def chunks_of(database: Sqlite) -> set[tuple[str, str, int, int]]:
    """Give (address, inc, stream, first) of every chunk that is stored."""
    return {
        (f"{tenant}/{site}/{name}", inc, stream, first)
        for tenant, site, name, inc, stream, first in database.execute(
            "select g.tenant, g.site, g.name, i.inc, c.stream, c.first from ingest_chunk c"
            " join incarnation i on i.id=c.inc join gateway g on g.id=i.gateway"
        )
    }


def brief(frame: Any) -> str:
    """Give a frame in a few words, the same for the same frame."""
    name = type(frame).__name__
    mark = zlib.crc32(msgspec.json.encode(frame))
    match name:
        case "Batch":
            end = frame.first + frame.count - 1
            return f"{name} {frame.inc[:6]}/{frame.stream} {frame.first}–{end} of {frame.last} {mark:08x}"
        case "Receipt" | "Welcome":
            marks = " ".join(f"{m.inc[:6]}/{m.stream}:{m.stored}/{m.safe}" for m in frame.watermarks)
            return f"{name} {frame.nonce[:6]} {marks} {mark:08x}"
        case "Resume":
            held = " ".join(
                f"{one.inc[:6]}{'.' if one.closed else '*'}" + ",".join(f"{s}:{h.last}" for s, h in one.streams.items())
                for one in frame.incarnations
            )
            return f"{name} {frame.nonce[:6]} {held} {mark:08x}"
        case _:
            return f"{name} {mark:08x}"
