"""Numbered records: what was committed can be told from what is found, byte for byte, by nothing but its number.

Every record carries the incarnation it was committed in and a number that counts up in its stream, so that an oracle
needs no word of the store about what it holds.
"""

from __future__ import annotations

import random
from typing import Final

import msgspec
import numpy as np

from sync.facts import Aggregated, Audited, Fact, HealthReported, StateChanged, Stream, TagDictionary, TagEntry
from sync.reading import Readings

LINE: Final = "hall/line-1/filler"
EPOCH_NS: Final = 1_700_000_000_000_000_000
TAGS: Final = 8


def event(inc: str, number: int) -> StateChanged:
    filler = random.Random(f"{inc}{number}").randbytes(number % 97).hex()
    return StateChanged(at=EPOCH_NS + number, work_unit=LINE, state="EXECUTE", reason=f"{inc}.{number}.{filler}")


def audit(inc: str, number: int) -> Audited:
    return Audited(at=EPOCH_NS + number, actor="campaign", action="counted", detail={"record": f"{inc}.{number}"})


def health(inc: str, number: int) -> HealthReported:
    return HealthReported(at=EPOCH_NS + number, values={f"{inc}.{number}": number / 7})


def aggregate(inc: str, number: int) -> Aggregated:
    return Aggregated(at=EPOCH_NS + number, tag=f"{inc}.{number}", start=0, count=1, bad=0, mean=number / 3)


MAKERS: Final = {Stream.AUDIT: audit, Stream.EVENT: event, Stream.AGG: aggregate, Stream.DIAG: health}


def dictionary() -> TagDictionary:
    entries = [TagEntry(id=f"{LINE}/tag_{i}", unit="CEL") for i in range(TAGS)]
    return TagDictionary(at=EPOCH_NS, version="campaign", tags=entries)


def readings(inc: str, first: int, count: int) -> Readings:
    """Give readings `first` … `first + count - 1` of an incarnation; their numbers stand in their times."""
    numbers = np.arange(first, first + count, dtype=np.int64)
    noise = np.random.default_rng(int(inc[:12], 16) + first).random(count)
    return Readings(
        tag=(numbers % TAGS).astype(np.int32),
        value=numbers + noise,
        status=np.zeros(count, np.uint32),
        source_time=EPOCH_NS + numbers,
        server_time=EPOCH_NS + numbers,
        received=EPOCH_NS,
    )


def number_of(fact: Fact) -> tuple[str, int] | None:
    """Give (incarnation, number) of a record of ours; None for the store's own."""
    match fact:
        case StateChanged(work_unit=place, reason=said) if place == LINE and said:
            pass
        case Audited(actor="campaign", detail=detail):
            said = str(detail["record"])
        case HealthReported(values=values) if len(values) == 1:
            said = next(iter(values))
        case Aggregated(tag=tag):
            said = tag
        case _:
            return None
    inc, _, rest = said.partition(".")
    return (inc, int(rest.partition(".")[0])) if len(inc) == 32 else None


def same(fact: Fact, stream: Stream, inc: str, number: int) -> bool:
    """Tell whether a record is exactly the one that was committed; an audit record's place in the chain is not ours."""
    made = MAKERS[stream](inc, number)
    if isinstance(fact, Audited) and isinstance(made, Audited):
        fact = msgspec.structs.replace(fact, previous=made.previous)
    return fact == made


def readings_wrong(found: Readings, inc: str) -> str | None:
    """Say what is wrong with a chunk of readings; None when they are those that were committed, in order."""
    numbers = found.source_time - EPOCH_NS
    if bool(np.any(np.diff(numbers) != 1)):
        return f"readings out of order or with holes from {numbers[0]} to {numbers[-1]}"
    if bool(np.any(found.value.astype(np.int64) != numbers)) or bool(np.any(found.tag != numbers % TAGS)):
        return f"readings that nobody committed among {numbers[0]} to {numbers[-1]}"
    del inc
    return None
