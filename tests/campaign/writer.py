"""A process that uses its store as hard as it can and says, on a pipe, what it was promised; until it is killed.

Every line is one write of less than PIPE_BUF: a line is there whole or not at all.
`A <monotonic ns> <inc> <checkpoint> <stream>:<numbers>:<last> …` after a commit came back,
`M <inc> <stream>:<stored> …` before a receipt is handed in: what it names may be forgotten from now on.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge.store import Store, open_store
from sync.clock import WallClock
from sync.facts import Fact, Stream
from sync.frames import Watermark
from sync.reading import Readings
from tests.campaign import load
from tests.campaign.books import File, Place

CHECKPOINT: Final = "campaign"
SMALL_QUOTA: Final = 120_000
STREAMS: Final = (Stream.AUDIT, Stream.EVENT, Stream.EVENT, Stream.EVENT, Stream.AGG, Stream.DIAG)


def write_for_ever(folder: Path, out: int, dice: random.Random, *, quota_bytes: int = 1 << 28) -> None:
    """Open the store of a folder, commit, confirm, turn, without end."""
    asyncio.run(_write(folder, out, dice, quota_bytes))


async def _write(folder: Path, out: int, dice: random.Random, quota_bytes: int) -> None:
    async with open_store(
        folder, clock=WallClock(), quota_bytes=quota_bytes, ballast_bytes=0, software="campaign"
    ) as store:
        os.write(out, f"O {store.incarnation}\n".encode())
        numbers: Counter[tuple[str, Stream]] = Counter({(store.incarnation, Stream.EVENT): 1})
        first = load.event(store.incarnation, 0)  # an event, so that the dictionary does not wait for company
        await store.commit(dictionary=load.dictionary(), facts=[first])
        told: dict[Place, tuple[int, int]] = {}
        done = 0
        confirming: asyncio.Task[None] | None = None
        while True:
            if confirming is not None and confirming.done():
                confirming = confirming.result()
            draw = dice.random()
            if draw < 0.8:
                together = dice.choice((1, 1, 4))
                await asyncio.gather(*(_commit(store, out, dice, numbers, done + i) for i in range(together)))
                done += together
            elif draw < 0.98:  # beside the commits, as the uplink does
                confirming = confirming or asyncio.create_task(_confirm(store, out, dice, told))
            else:
                os.write(out, f"T {store.incarnation}\n".encode())
                await store.turn("campaign")


async def _commit(store: Store, out: int, dice: random.Random, numbers: Counter[tuple[str, Stream]], turn: int) -> None:
    inc = store.incarnation
    facts: list[Fact] = []
    said: dict[Stream, int] = {}
    columns: list[Readings] = []
    if dice.random() < 0.3:
        count = dice.choice((1, 40, 300))
        columns.append(load.readings(inc, numbers[inc, Stream.FACT], count))
        numbers[inc, Stream.FACT] += count
        said[Stream.FACT] = numbers[inc, Stream.FACT]
    streams = dice.choices(STREAMS, k=dice.choice((1, 1, 3)))
    for stream in [*streams, *(() if min(streams) <= Stream.EVENT else (Stream.EVENT,))]:  # an event does not wait
        facts.append(load.MAKERS[stream](inc, numbers[inc, stream]))
        numbers[inc, stream] += 1
        said[stream] = numbers[inc, stream]
    mark = f"{inc}.{turn}"
    await store.commit(facts=facts, readings=columns, checkpoints={CHECKPOINT: mark.encode()})
    last = store.last
    words = " ".join(f"{int(stream)}:{number}:{last.get(stream, 0)}" for stream, number in said.items())
    os.write(out, f"A {time.monotonic_ns()} {inc} {turn} {words}\n".encode())


async def _confirm(store: Store, out: int, dice: random.Random, told: dict[Place, tuple[int, int]]) -> None:
    """A receipt of a cloud that never goes back."""
    marks: list[Watermark] = []
    held, _ = await store.holdings()
    for one in held:
        for stream, lane in one.streams.items():
            if one.closed or dice.random() < 0.5:
                stored = lane.last if one.closed or dice.random() < 0.5 else dice.randint(0, lane.last)
                safe = stored if one.closed or dice.random() < 0.7 else dice.randint(0, stored)
                before = told.get((one.inc, int(stream)), (0, 0))
                stored, safe = max(stored, before[0]), max(safe, before[1])
                told[one.inc, int(stream)] = (stored, safe)
                marks.append(Watermark(inc=one.inc, stream=int(stream), stored=stored, safe=safe))
    for mark in marks:
        os.write(out, f"M {mark.inc} {mark.stream}:{mark.stored}\n".encode())
    await store.apply(marks)


@dataclass(slots=True)
class Promised:
    """What the processes on one folder were promised, and what they allowed to be forgotten."""

    numbers: dict[Place, int] = field(default_factory=dict)
    """So many records of ours."""
    lasts: dict[Place, int] = field(default_factory=dict)
    """The store's own highest number then."""
    marks: dict[Place, int] = field(default_factory=dict)
    checkpoint: tuple[str, int] = ("", -1)
    commits: int = 0
    opened: int = 0

    def take(self, said: bytes, before_ns: int | None = None) -> None:
        """Take the lines of one process; acknowledgements from `before_ns` on are nobody's promise."""
        for line in said.decode().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            kind, *words = line.split()
            match kind:
                case "O":
                    self.opened += 1
                case "M":
                    for word in words[1:]:
                        stream, stored = map(int, word.split(":"))
                        place = (words[0], stream)
                        self.marks[place] = max(self.marks.get(place, 0), stored)
                case "A" if before_ns is None or int(words[0]) < before_ns:
                    self.commits += 1
                    self.checkpoint = max(self.checkpoint, (words[1], int(words[2]))) if (
                        self.checkpoint[0] == words[1]
                    ) else (words[1], int(words[2]))  # fmt: skip
                    for word in words[3:]:
                        stream, number, last = map(int, word.split(":"))
                        place = (words[1], stream)
                        self.numbers[place] = max(self.numbers.get(place, 0), number)
                        self.lasts[place] = max(self.lasts.get(place, 0), number, last)
                case _:
                    pass

    def broken(self, file: File, *, shed: bool) -> list[str]:
        """Say which promises a file does not keep. What it holds is whole: `books.wrong` has seen to that."""
        found: list[str] = []
        for place, numbers in self.numbers.items():
            inc, stream = place
            name = f"{inc[:8]}/{Stream(stream).name.lower()}"
            lane = file.lanes.get(place)
            mark = self.marks.get(place, 0)
            if lane is None:
                if mark < numbers:
                    found.append(f"{name}: {numbers} records were promised, confirmed up to {mark}; the lane is gone")
                continue
            if lane.last < numbers:
                found.append(f"{name}: {numbers} records were promised, its last number is {lane.last}")
            if lane.floor > mark:
                found.append(f"{name}: forgotten up to {lane.floor}, confirmed up to {mark}")
            reasons = {reason for _, _, reason in lane.losses} - ({"shed"} if shed else set())
            if reasons:
                found.append(f"{name}: lost without a reason we gave: {sorted(reasons)}")
            if lane.losses and stream in {Stream.AUDIT, Stream.EVENT}:
                found.append(f"{name}: {lane.losses[0]} is never to be lost")
        inc, turn = self.checkpoint
        kept, _, at = file.checkpoints.get(CHECKPOINT, b".-1").decode().partition(".")
        if inc and kept == inc and int(at) < turn:
            found.append(f"the checkpoint is of commit {at}, commit {turn} was promised")
        if inc and not kept:
            found.append("the checkpoint is gone")
        return found
