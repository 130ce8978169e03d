"""The way in: what the past tells goes through the real ingest, as chunks of a gateway named `seed`.

A chunk is what one day's shifts told within one hour, so the same past gives the same chunks whenever it is told: what
is there already is counted as known, and hours that have passed since are added. Who the gateway is (its incarnation)
follows from the seed, the configuration and the first date.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, TypeVar

import numpy as np

from cloud.config import Site
from cloud.database import Connection, Database
from cloud.ingest.items import Gone, Item
from cloud.ingest.store import Ingest
from cloud.marts import dimensions, over
from cloud.marts.refresh import refresh
from cloud.plant import Plants
from cloud.seed import machine
from cloud.seed.past import Past
from cloud.seed.shift import HOUR_MS
from sync import facts as f
from sync.chunk import MAX_RECORDS, digest, encode_facts, encode_readings
from sync.clock import Clock
from sync.frames import Batch, Heartbeat, Incarnation, Resume, StreamHoldings
from sync.topics import Address

GATEWAY: Final = "seed"
VERSION: Final = 1
"""Raise it when the same seed tells another past."""
NS: Final = 1_000_000
AT_ONCE: Final = 96
"""Chunks of one transaction."""
SOON_MS: Final = 10_000
"""Buckets that would be computed within this are computed now."""
_NONCE: Final = "seed"

T = TypeVar("T")


class SeedError(Exception):
    """The database or the configuration cannot take this past; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one site was told."""

    site: str
    first: date
    last: date
    records: int
    """New ones."""
    known: int
    """Chunks that were there already."""
    inc: str


async def tell(
    database: Database, plants: Plants, site: Site, *, seed: int, first: date, last: date, clock: Clock
) -> Told:
    """Tell one site's past between two dates, both included; what has not passed yet is left out. Raises SeedError."""
    if not site.work_units or not site.shifts:
        what = "a line ([[site.work_unit]])" if not site.work_units else "a shift ([[site.shift]])"
        raise SeedError(f"site {site.id!r} has no {what}; a past needs lines and shifts")
    address = Address(site.tenant, site.id, GATEWAY)
    first, inc, before = await database.read(lambda c: _identity(c, address, site, seed, first))
    sender = _Sender(address, inc, f"triflow-seed {seed} {first}")
    now_ms = clock.now() // NS
    items = sender.items(Past(site, seed), site, seed, (first, last), now_ms)
    sender.heard(before)
    ingest = Ingest(plants, clock)
    records = known = 0
    for part in _told(sender, items, clock):
        done = await database.write(lambda c, part=part: ingest.store(c, part))
        if done.conflicts or done.dead_letters:
            raise SeedError(f"the database holds another past of this seed: {(done.conflicts + done.dead_letters)[0]}")
        records += done.records
        known += done.duplicates
    return Told(site.id, first, last, records, known, inc)


async def compute(database: Database, plants: Plants, now_ms: int) -> int:
    """Have the dimensions filled and every bucket that waits computed, as the service would; gives how many buckets."""
    await database.write(lambda c: dimensions.fill(c, plants, now_ms))
    while await database.write(lambda c: over.close(c, plants, now_ms)) <= now_ms:
        pass
    total = 0
    while done := await database.write(lambda c: refresh(c, plants, now_ms + SOON_MS)):
        total += done
    return total


def _identity(
    connection: Connection, address: Address, site: Site, seed: int, first: date
) -> tuple[date, str, dict[int, int]]:
    """Give the first date, the incarnation, and how far its streams are here; an earlier past is gone on with."""
    key = (address.tenant, address.site, address.gateway)
    rows = connection.execute(
        "select i.id, i.inc, i.software from incarnation i join gateway g on g.id=i.gateway"
        " where g.tenant=? and g.site=? and g.name=?",
        key,
    )
    for number, inc, software in rows:
        words = str(software).split(" ")
        begun = date.fromisoformat(words[2]) if len(words) == 3 else first
        if begun <= first and inc == identity(site, seed, begun):
            streams = connection.execute("select stream, last from ingest_stream where inc=?", (number,))
            return begun, inc, {int(stream): int(last) for stream, last in streams}
        raise SeedError(
            f"{address} told another past already ({software or 'unknown'}); seed the same with --seed {words[1]} and"
            f" no more days, or use an empty database"
            if len(words) == 3
            else f"{address} is a gateway that was not seeded; use an empty database"
        )
    return first, identity(site, seed, first), {}


def identity(site: Site, seed: int, first: date) -> str:
    """Give the incarnation (32 hex digits) of a site's seeded past."""
    said = f"triflow-seed/{VERSION}/{seed}/{first}/{site.model_dump_json(exclude={'name'})}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


class _Sender:
    """Numbers records and packs them as the gateway would."""

    def __init__(self, address: Address, inc: str, software: str) -> None:
        self._address, self._inc, self._software = address, inc, software
        self._last: dict[int, int] = {}

    def heard(self, before: dict[int, int]) -> None:
        """Take note of numbers that were given earlier: a shorter past than before is no gap."""
        for stream, last in before.items():
            self._last[stream] = max(self._last.get(stream, 0), last)

    def items(self, past: Past, site: Site, seed: int, days: tuple[date, date], now_ms: int) -> list[Item]:
        """Give the chunks of every hour that is over."""
        lines = [unit.path for unit in site.work_units]
        count = (days[1] - days[0]).days + 1
        found: list[Item] = []
        version = ""
        for day in (days[0] + timedelta(days=n) for n in range(count)):
            begin = past.begin_ms(day)
            if begin is None:
                continue
            if not found:
                tags = machine.dictionary(lines, begin)
                found += self._facts([*past.master_data(begin)], f.Stream.EVENT)
                found += self._facts([tags], f.Stream.FACT)
                version = tags.version
            for start_ms, told in _hours(past.day(day)):
                if start_ms + HOUR_MS <= now_ms:
                    found += self._hour(start_ms, told)
            for start_ms in past.hours(day):
                if start_ms + HOUR_MS <= now_ms:
                    readings = machine.hour(seed, start_ms, past.around(start_ms))
                    for rows in _parts(range(len(readings)), MAX_RECORDS):  # one chunk, but of a hall of many lines
                        part = readings.take(np.array(rows, np.intp))
                        found.append(self._chunk(encode_readings(part, version), len(part), f.Stream.FACT))
        if not found:
            raise SeedError(f"no shift of site {site.id!r} has passed between {days[0]} and {days[1]}")
        return found

    def _hour(self, start_ms: int, told: Sequence[f.Fact]) -> Iterator[Item]:
        """Give an hour's facts and, last, the tally of them."""
        stream = int(f.Stream.EVENT)
        first = self._last.get(stream, 0) + 1
        lanes = {str(stream): (first, first + len(told))}
        end = (start_ms + HOUR_MS) * NS
        yield from self._facts(
            [*told, f.Tallied(at=end, start=start_ms * NS, inc=self._inc, lanes=lanes)], f.Stream.EVENT
        )

    def _facts(self, told: Sequence[f.Fact], stream: f.Stream) -> Iterator[Item]:
        for part in _parts(told, MAX_RECORDS):
            yield self._chunk(encode_facts(part), len(part), stream)

    def _chunk(self, body: bytes, count: int, stream: f.Stream) -> Item:
        first = self._last.get(stream, 0) + 1
        last = self._last[int(stream)] = first + count - 1
        frame = Batch(
            nonce=_NONCE,
            inc=self._inc,
            stream=int(stream),
            first=first,
            count=count,
            last=last,
            digest=digest(body).hex(),
        )
        return Item(self._address, frame, body)

    def _incarnation(self) -> Incarnation:
        streams = {str(stream): StreamHoldings(last=last) for stream, last in sorted(self._last.items())}
        return Incarnation(inc=self._inc, ord=1, closed=False, streams=streams)

    def resume(self) -> Item:
        frame = Resume(nonce=_NONCE, incarnations=[self._incarnation()])
        return Item(self._address, frame, software=self._software, inc=self._inc)

    def farewell(self, now_ns: int) -> list[Item]:
        """Say how it is at the end, and that it is gone."""
        beat = Heartbeat(
            nonce=_NONCE,
            inc=self._inc,
            wall=now_ns,
            holdings=[self._incarnation()],
            waiting=0,
            waiting_bytes=0,
            oldest_at=None,
            lost=0,
            produced=sum(self._last.values()),
            disk_free_bytes=200_000_000_000,
            autonomy_hours=720.0,
            data_at=None,
            sources={},
        )
        return [Item(self._address, beat), Item(self._address, Gone())]


def _told(sender: _Sender, items: Sequence[Item], clock: Clock) -> Iterator[Sequence[Item]]:
    """Give all items in parts, and last the farewell, whose clock is read when it is told and not minutes before."""
    yield from _parts([sender.resume(), *items], AT_ONCE)
    yield sender.farewell(clock.now())


def _parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def _hours(facts: Sequence[f.Fact]) -> Iterator[tuple[int, list[f.Fact]]]:
    """Give (begin of the hour in ms, its facts); what happens as an hour ends belongs to it."""

    def begin(fact: f.Fact) -> int:
        return (fact.at - 1) // (HOUR_MS * NS) * HOUR_MS

    for start_ms, told in itertools.groupby(sorted(facts, key=begin), key=begin):
        yield start_ms, list(told)
