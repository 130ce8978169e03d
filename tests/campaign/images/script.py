"""What a gateway does to its store in a life, drawn from a seed, done by the real store, and written along."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import secrets
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from edge.store import Store, StoreError, identity, open_store, salvage
from sync.facts import Fact, Stream
from sync.frames import Rejection, Watermark
from tests.campaign import load
from tests.campaign.books import File, opened, read
from tests.campaign.images.disk import Disk
from tests.campaign.images.recorder import Op, Recorder

OLD: Final = Path(__file__).parents[2] / "edge" / "store" / "old"
LIVES: Final = ("new", "old", "short of room", "new", "damaged", "new", "old", "short of room")
salvage.PROBES = 300  # rows that are tried one by one where a table breaks: there are not more in these files
QUOTA: Final = {"short of room": 60_000}
FACT_STREAMS: Final = (Stream.AUDIT, Stream.EVENT, Stream.EVENT, Stream.AGG, Stream.DIAG)


class Hasty:
    """A clock of which a bit more than the wait for company passes at every look: nobody waits, and nothing is late."""

    def __init__(self, step_ns: int = 110_000_000) -> None:
        self._times = itertools.count(load.EPOCH_NS, step_ns)

    def now(self) -> int:
        return next(self._times)

    def monotonic(self) -> int:
        return next(self._times)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class Ack:
    """From operation `at` on, a person was told that this is on the disk."""

    at: int
    commits: int
    """Transactions that were complete by then."""
    where: str


@dataclass(slots=True)
class Trace:
    """A recorded life, and what a file may hold at each point of it."""

    seed: int
    life: str
    begin: dict[str, tuple[int, bytes]]
    ops: list[Op]
    acks: list[Ack]
    done: Counter[str]
    states: list[File | None] = field(default_factory=list)
    """After each transaction; the first one is what stood there before."""
    points: list[int] = field(default_factory=list)
    """Operation after which each state is complete."""


def store_in(folder: Path, *, quota_bytes: int = 1 << 28):
    """Open the real store as the gateway does."""
    return open_store(folder, clock=Hasty(), quota_bytes=quota_bytes, ballast_bytes=0, software="campaign")


class Life:
    """One process's use of the store after another."""

    def __init__(self, folder: Path, life: str, dice: random.Random, told: Callable[[str], None]) -> None:
        self.done: Counter[str] = Counter()
        self._folder, self._life, self._dice, self._told = folder, life, dice, told
        self._numbers: Counter[tuple[str, Stream]] = Counter()

    async def live(self) -> None:
        for _ in range(self._dice.randint(1, 3)):
            try:
                await self._start()
            except StoreError:
                if self._life != "damaged":
                    raise
                self._tell("ended by damage")  # … which the next start salvages

    async def _start(self) -> None:
        async with store_in(self._folder, quota_bytes=QUOTA.get(self._life, 1 << 28)) as store:
            self._tell("open")
            await store.commit(dictionary=load.dictionary())
            self._tell("dictionary")
            for _ in range(self._dice.randint(6, 22)):
                await self._step(store)
        self._tell("close")

    def _tell(self, what: str) -> None:
        self.done[what] += 1
        self._told(what)

    async def _step(self, store: Store) -> None:
        draw = self._dice.random()
        if draw < 0.62:
            await self._commit(store)
            return
        if draw < 0.86:
            await self._receipt(store)
            return
        if draw < 0.92:
            await self._read(store)
            return
        if hasattr(store, "turn"):
            await store.turn("campaign")
            self._tell("turn")
            await store.commit(dictionary=load.dictionary())

    async def _commit(self, store: Store) -> None:
        dice, inc = self._dice, store.incarnation
        facts: list[Fact] = []
        for _ in range(dice.choice((0, 1, 1, 2, 12))):
            stream = dice.choice(FACT_STREAMS)
            facts.append(load.MAKERS[stream](inc, self._next(inc, stream)))
        columns = []
        for _ in range(dice.choice((0, 1, 1, 2))):
            count = dice.choice((1, 30, 400, 1100))
            columns.append(load.readings(inc, self._next(inc, Stream.FACT, count), count))
        checkpoints = (
            {f"line-{dice.randrange(3)}": dice.randbytes(dice.choice((4, 300)))} if dice.random() < 0.4 else {}
        )
        await store.commit(facts=facts, readings=columns, checkpoints=checkpoints)
        self._tell("commit")

    def _next(self, inc: str, stream: Stream, count: int = 1) -> int:
        number = self._numbers[inc, stream]
        self._numbers[inc, stream] += count
        return number

    async def _receipt(self, store: Store) -> None:
        """A receipt of the cloud, honest or not so far on, sometimes with a refusal."""
        dice = self._dice
        marks: list[Watermark] = []
        rejected: list[Rejection] = []
        held, _ = await store.holdings()
        for one in held:
            for stream, lane in one.streams.items():
                if dice.random() < 0.4:
                    stored = dice.randint(0, lane.last)
                    marks.append(
                        Watermark(inc=one.inc, stream=int(stream), stored=stored, safe=dice.randint(0, stored))
                    )
                if dice.random() < 0.08 and lane.held:
                    step = await store.next_chunk(one.inc, Stream(int(stream)), lane.held[0][0] - 1)
                    if step.chunk is not None and step.chunk.stream is not Stream.FACT:
                        rejected.append(
                            Rejection(
                                inc=one.inc,
                                stream=int(stream),
                                first=step.chunk.first,
                                count=step.chunk.count,
                                why="campaign",
                            )
                        )
        await store.apply(marks, rejected)
        self.done["rejected"] += len(rejected)
        self._tell("apply")

    async def _read(self, store: Store) -> None:
        held, _ = await store.holdings()
        one = self._dice.choice(held)
        for stream, lane in one.streams.items():
            await store.next_chunk(one.inc, Stream(int(stream)), self._dice.randint(0, lane.last))
        self._tell("read")


class LockStep(asyncio.SelectorEventLoop):
    """An event loop for which the store's thread waits whenever it has said something: a seed gives one order of things."""

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        if threading.current_thread().name == "store":
            idle = threading.Event()

            def look() -> None:
                if self._ready:
                    self.call_soon(look)
                else:
                    idle.set()

            super().call_soon_threadsafe(look)
            idle.wait(5)
        return handle


@contextlib.contextmanager
def drawn(dice: random.Random) -> Iterator[None]:
    """Have names, keys and nonces drawn from the seed."""
    kept = secrets.token_hex, secrets.token_bytes, os.urandom, identity.make_key, tempfile._name_sequence
    secrets.token_hex = lambda nbytes=32: dice.randbytes(nbytes or 32).hex()
    secrets.token_bytes = lambda nbytes=32: dice.randbytes(nbytes or 32)
    os.urandom = dice.randbytes
    identity.make_key = lambda: dice.randbytes(32)
    tempfile._name_sequence = (f"n{number}" for number in itertools.count())
    try:
        yield
    finally:
        secrets.token_hex, secrets.token_bytes, os.urandom, identity.make_key, tempfile._name_sequence = kept


def record(
    seed: int, folder: Path, *, honest: Callable[[str], bool] = lambda _name: True, early: bool = False
) -> Trace:
    """Live a seed's life in a folder (made anew) and give what was recorded.

    `honest`: whether a file's sync really happens. `early`: everything is acknowledged as soon as it is asked for. Both
    are for the engine's own mutants.
    """
    dice = random.Random(f"life {seed}")
    life = LIVES[seed % len(LIVES)]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with drawn(random.Random(f"names {seed}")):
        _before(folder, life, dice)
        recorder = Recorder(folder, honest=honest, dice=random.Random(f"salts {seed}"))
        acks: list[Ack] = []

        def told(what: str) -> None:
            at = acks[-1].at if early and acks else len(recorder.ops)
            acks.append(Ack(len(recorder.ops), recorder.commits, what))
            if early and len(acks) > 1:
                acks[-2] = Ack(at, recorder.commits, what)

        with recorder.running(), asyncio.Runner(loop_factory=LockStep) as runner:
            lived = Life(folder, life, dice, told)
            runner.run(lived.live())
    trace = Trace(seed, life, recorder.begin, recorder.ops, acks, lived.done)
    _find_states(trace, folder.with_name(folder.name + "-states"))
    return trace


def _before(folder: Path, life: str, dice: random.Random) -> None:
    """Put there what the life begins with."""
    if life == "old":
        shutil.copy(dice.choice(sorted(OLD.glob("*.db"))), folder / "edge.db")
    elif life == "damaged":
        with asyncio.Runner(loop_factory=LockStep) as runner:
            runner.run(Life(folder, life, dice, lambda _what: None).live())
        path = folder / "edge.db"
        raw = bytearray(path.read_bytes())
        for _ in range(dice.choice((1, 3, 9))):
            at = dice.randrange(4096, len(raw) - 600)
            raw[at : at + dice.choice((1, 512))] = dice.randbytes(dice.choice((1, 512)))
        path.write_bytes(raw)


def _find_states(trace: Trace, folder: Path) -> None:
    """Read the file as it is when everything before each end of a transaction has reached the disk."""
    disk = Disk(trace.begin)
    dice = random.Random(0)
    points = [0, *(at + 1 for at, op in enumerate(trace.ops) if op.commit)]
    for point in points:
        disk.go(trace.ops, point)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        disk.image(folder, "all", dice)
        trace.points.append(point)
        trace.states.append(state_of(folder))
    shutil.rmtree(folder, ignore_errors=True)


def state_of(folder: Path) -> File | None:
    """Read what stands in a folder's file; None when there is nothing in it (yet), or when it is damaged."""
    path = folder / "edge.db"
    if not path.exists():
        return None
    try:
        with opened(path) as connection:
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'chunk'").fetchone() is None:
                return None
            return read(connection)
    except (apsw.Error, KeyError, TypeError, UnicodeDecodeError):  # damaged: there is nothing to read
        return None
