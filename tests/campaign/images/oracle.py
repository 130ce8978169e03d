"""What must be true of a store after a cut: the state before or after, all that was acknowledged, books that are whole."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from pathlib import Path

import apsw

from edge.store import Recovery, StoreError
from sync.facts import Stream
from tests.campaign import load
from tests.campaign.books import Bodies, File, integrity, opened, read, wrong
from tests.campaign.images.disk import HOWS, Disk
from tests.campaign.images.recorder import Recorder
from tests.campaign.images.script import Trace, state_of, store_in


class Oracle:
    """Judges images of one life after another."""

    def __init__(self, work: Path) -> None:
        self.nested = 0
        self.added: set[str] = set()
        """Incarnations that came after the cut."""
        self._work = work
        self._bodies = Bodies()
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()

    def judge(self, trace: Trace, at: int, folder: Path, *, again: random.Random | None) -> list[str]:
        """Say what is wrong with the image in `folder`, cut at operation `at`; `again` draws a second cut."""
        acked = max((ack.commits for ack in trace.acks if ack.at <= at), default=0)
        known = None if trace.life == "damaged" else state_of(folder)
        if trace.life == "damaged":
            found, held = [], self._salvaged(trace, acked, at)
        else:
            found, held = _old_or_new(trace, acked, at, known)
        recorder = Recorder(folder) if again is not None else None
        self.added.clear()
        found += self._opens(folder, held, recorder, damaged=trace.life == "damaged")
        if recorder is not None and again is not None and not found:
            found += self._second(recorder, held, again, damaged=trace.life == "damaged")
        return found

    def _salvaged(self, trace: Trace, acked: int, at: int) -> dict[tuple[str, int, int], tuple[int, bytes]]:
        """Give what must be there after a salvage: what every state from the last acknowledged one on holds."""
        allowed = _allowed(trace, acked, at)
        if not acked or any(state is None for state in allowed):
            return {}
        held = [state.places() for state in allowed if state is not None]
        return {place: mark for place, mark in held[0].items() if all(one.get(place) == mark for one in held)}

    def _opens(
        self,
        folder: Path,
        held: dict[tuple[str, int, int], tuple[int, bytes]],
        recorder: Recorder | None,
        *,
        damaged: bool,
    ) -> list[str]:
        try:
            with recorder.running() if recorder is not None else contextlib.nullcontext():
                recovered, inc = self._use(folder, damaged=damaged)
        except StoreError as error:
            return [f"does not open: {error}"]
        found: list[str] = []
        if recovered is not None and not damaged:
            found.append(f"was salvaged: {recovered.why}, lost {recovered.lost}")
        with opened(folder / "edge.db") as connection:
            found += integrity(connection)
            try:
                file = read(connection)
            except (apsw.Error, KeyError) as error:
                return [*found, f"cannot be read after it was opened: {error!r}"]
        found += wrong(file, self._bodies)
        there = file.places()
        gone = [place for place in held if there.get(place) != held[place] and not (damaged and _declared(file, place))]
        found += [f"acknowledged and gone: {inc[:8]}/{stream}/{first}" for inc, stream, first in gone[:3]]
        self.added.add(inc)
        fresh = [p for p in there if p not in held and p[0] not in self.added] if not damaged else []
        found += [f"nobody committed {i[:8]}/{stream}/{first} before the cut" for i, stream, first in fresh[:3]]
        if (inc, int(Stream.EVENT)) not in file.lanes:
            found.append("what was committed after the cut is not there")
        return found

    def _use(self, folder: Path, *, damaged: bool) -> tuple[Recovery | None, str]:
        """Start on it; damage that shows only in use ends that start, and the next one salvages."""
        try:
            return self._runner.run(_use(folder, all_bodies=damaged))
        except StoreError:
            if not damaged:
                raise
            return self._runner.run(_use(folder, all_bodies=damaged))

    def _second(
        self,
        recorder: Recorder,
        held: dict[tuple[str, int, int], tuple[int, bytes]],
        dice: random.Random,
        *,
        damaged: bool,
    ) -> list[str]:
        """Cut the recovery itself, and recover from that."""
        self.nested += 1
        disk = Disk(recorder.begin)
        at = dice.randint(0, len(recorder.ops))
        disk.go(recorder.ops, at)
        folder = self._work / "second"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        how = dice.choice(HOWS)
        disk.image(folder, how, dice)
        return [
            f"second cut at {at} of {len(recorder.ops)}, {how}: {what}"
            for what in self._opens(folder, held, None, damaged=damaged)
        ]


def _old_or_new(
    trace: Trace, acked: int, at: int, known: File | None
) -> tuple[list[str], dict[tuple[str, int, int], tuple[int, bytes]]]:
    """The file is what it was after one of the transactions from the last acknowledged one to the one under way."""
    own = None if known is None else known.state
    allowed = _allowed(trace, acked, at)
    if any(own == (None if state is None else state.state) for state in allowed):
        return [], {} if known is None else known.places()
    must = trace.states[min(acked, len(trace.states) - 1)]
    where = next((i for i, state in enumerate(trace.states) if (None if state is None else state.state) == own), None)
    what = "of no transaction" if where is None else f"of transaction {where}"
    return (
        [f"state {what}; acknowledged up to {acked}, under way {acked + len(allowed) - 1}"],
        {} if must is None else must.places(),
    )


def _declared(file: File, place: tuple[str, int, int]) -> bool:
    """Tell whether a chunk was put aside because its body is not what was written."""
    inc, stream, first = place
    lane = file.lanes.get((inc, stream))
    return lane is not None and any(a <= first <= b and why == "quarantine" for a, b, why in lane.losses)


def _allowed(trace: Trace, acked: int, at: int) -> list[File | None]:
    """Give the states from the last acknowledged transaction to the one under way."""
    newest = next((i for i, point in enumerate(trace.points) if point > at), len(trace.points) - 1)
    return trace.states[acked : newest + 1]


async def _use(folder: Path, *, all_bodies: bool) -> tuple[Recovery | None, str]:
    """Open with the real store, commit one record, close; give (recovery, incarnation).

    A turned bit within a body is found when the body is read, which the uplink does: `all_bodies` does so.
    """
    async with store_in(folder) as store:
        await store.commit(facts=[load.event(store.incarnation, 0)])
        for one in (await store.holdings())[0] if all_bodies else ():
            for stream in one.streams:
                after = 0
                while (chunk := (await store.next_chunk(one.inc, Stream(int(stream)), after)).chunk) is not None:
                    after = chunk.first + chunk.count - 1
        return store.recovered, store.incarnation
