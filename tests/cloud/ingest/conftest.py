"""The storing side for one test: items in, what was done out, on either database."""

from __future__ import annotations

import pytest

from cloud.database import Database
from cloud.ingest.items import Committed, Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from sync.signing import Signer
from tests.cloud.gateway import Start

HOUR = 3_600_000_000_000


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1_790_000_000_000_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> int:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class Hall:
    """The cloud's storing side."""

    def __init__(self, database: Database, plants: Plants) -> None:
        self.database, self.clock = database, Watch()
        self.signer = Signer(bytes(range(32)))
        self.ingest = Ingest(plants, self.clock, self.signer)

    async def do(self, *items: Item) -> Committed:
        return await self.database.write(lambda c: self.ingest.store(c, items))

    async def store(self, start: Start, *frames) -> Committed:
        return await self.do(*(Item(start.address, *frame) for frame in frames))

    async def resume(self, start: Start, *others: Start, box: str = "", key: str = "", nonce: str = "n") -> Committed:
        frame = start.resume(*others, nonce=nonce)
        return await self.do(Item(start.address, frame, software="test 2.0", inc=start.inc, box=box, public_key=key))

    async def rows(self, sql: str, *values):
        return await self.database.read(lambda c: c.execute(sql, values))

    async def kinds(self) -> list[str]:
        return [kind for (kind,) in await self.rows("select kind from gateway_event order by id")]

    async def lost(self) -> list[tuple]:
        return await self.rows("select first, last, reason, declared_by from loss order by inc, stream, first")


@pytest.fixture
def hall(database: Database, plants: Plants) -> Hall:
    return Hall(database, plants)


def answer(done: Committed, nonce: str = "n"):
    (found,) = [one for (_, said), one in done.answers.items() if said == nonce]
    return found


def stored(done: Committed, start: Start, stream: int = 2) -> int:
    marks = [a.watermarks[start.inc, stream] for a in done.answers.values() if (start.inc, stream) in a.watermarks]
    return marks[-1].stored
