"""The hall asks for all lines at once; what it gets is what each line tells alone."""

from __future__ import annotations

import random

from cloud.bi import since
from cloud.database import Connection, Database
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.marts import history
from cloud.plant import Plants
from sync import facts as f
from tests.cloud.gateway import LINE, LINE_2, Start, state

NS = 1_000_000
BEGIN = 1_774_854_000_000
HOUR = 3_600_000


async def test_states_and_silences_of_all_lines_are_those_of_each(database: Database, plants: Plants) -> None:
    rng = random.Random(6)
    lines = [LINE, LINE_2, "packing/line-9/case"]
    items: list[Item] = []
    for order in (1, 2):  # the same moments told twice: the later start of the gateway holds
        start = Start(ord=order)
        facts: list[f.Fact] = []
        for line in lines:
            for _ in range(30):
                at = (BEGIN + rng.randrange(20) * HOUR) * NS
                name = rng.choice(["EXECUTE", "HELD", "IDLE"])
                facts.append(state(at, name, line=line, product=rng.choice(["P1", None])))
            at = (BEGIN + rng.randrange(20) * HOUR) * NS
            facts.append(f.Gap(at=at + 2 * HOUR * NS, start=at, work_unit=line, source="plc", tags=1, reason="link"))
        items += [Item(start.address, start.resume()), Item(start.address, *start.facts(*facts))]
    await database.write(lambda c: Ingest(plants).store(c, items))

    def read(connection: Connection) -> int:
        seen = 0
        for hour in (-1, 0, 7, 12, 19, 30):
            begin, end = BEGIN + hour * HOUR, BEGIN + (hour + 8) * HOUR
            states = since.states(connection, "demo", ["seoul"], begin, end)
            gaps = since.gaps(connection, "demo", ["seoul"], begin, end)
            for line in lines:
                place = ("demo", "seoul", line)
                alone = history.states(connection, place, begin, end)
                assert states.get(("seoul", line), []) == alone
                assert sorted(gaps.get(("seoul", line), [])) == sorted(history.gaps(connection, place, begin, end))
                seen += len(alone)
            assert since.states(connection, "demo", ["busan"], begin, end) == {}
            assert since.states(connection, "other", ["seoul"], begin, end) == {}
        return seen

    assert await database.read(read) > 100
