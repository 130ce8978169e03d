"""A box without a battery starts in 1970: it judges at once, and when its clock is set nothing is lost or left undated.

The plant's clock and the cloud's are right.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.timing import UNSET_BEFORE_NS
from tests.scenarios.hall import LINES, Hall
from tests.scenarios.test_promise import pass_time, prove
from tests.servers import Broker, wait_until
from tests.wrong_clock import WrongClock

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def hall(tmp_path: Path, broker: Broker) -> Iterator[Hall]:
    running = Hall(tmp_path / "hall", broker)
    try:
        yield running
    finally:
        running.stop()


def rows(hall: Hall, sql: str, *values: object) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{hall.folder / 'cloud.db'}?mode=ro", uri=True, timeout=10) as connection:
        return connection.execute(sql, values).fetchall()


def undated(hall: Hall) -> list[tuple[object, ...]]:
    """Give what still has an impossible date, by kind; audit records keep the date they were chained with."""
    return rows(
        hall,
        "select kind, count(*) from fact where kind <> 'audit' and at between 1 and ? group by kind"
        " union all select 'reading', count(*) from reading where source_time between 1 and ? having count(*) > 0",
        UNSET_BEFORE_NS,
        UNSET_BEFORE_NS,
    )


@pytest.mark.parametrize("online", [True, False], ids=["link up", "link comes with the time"])
def test_a_box_that_boots_in_1970_judges_and_is_dated_right_afterwards(hall, broker, online):
    clock = WrongClock(hall.folder)
    clock.off_by(60 - time.time())
    if not online:
        broker.kill()
    hall.start("plant", "cloud")
    hall.start(*LINES, env={**os.environ, **clock.environment})
    for gateway in LINES:
        wait_until(lambda g=gateway: hall.judged(g) >= 1, f"{gateway} judges in 1970\n{hall.log(gateway)}", 40)
    hall.produce(on=True)
    pass_time(hall, 40)
    hall.kill("gw-modbus")  # a start more in the same boot
    hall.start("gw-modbus", env={**os.environ, **clock.environment})
    pass_time(hall, 20)
    judged = {gateway: hall.judged(gateway) for gateway in LINES}
    clock.off_by(0)
    if not online:
        broker.start()
    for gateway, before in judged.items():
        wait_until(lambda g=gateway, b=before: hall.judged(g) > b + 2, f"{gateway} judges on", 40)
    pass_time(hall, 20)
    wait_until(
        lambda: len(rows(hall, "select distinct inc from fact where kind='clock_step'")) == 2,
        f"both gateways say that their clock was set\n{hall.log('gw-opcua')}",
        40,
    )
    wait_until(lambda: not undated(hall), f"everything is dated: {undated(hall)}", 40)
    began = time.time_ns() - 180 * 10**9
    assert rows(hall, "select count(*) from production where start < ?", began) == [(0,)]
    prove(hall)


def test_a_clock_that_jumps_by_years_loses_nothing_and_reorders_nothing(hall):
    clock = WrongClock(hall.folder)
    clock.off_by(0)
    hall.start("plant", "cloud")
    hall.start(*LINES, env={**os.environ, **clock.environment})
    for gateway in LINES:
        wait_until(lambda g=gateway: hall.judged(g) >= 1, f"{gateway} judges\n{hall.log(gateway)}", 40)
    hall.produce(on=True)
    for off_s in (10 * 365 * 86_400, -3_600, 0):
        pass_time(hall, 15)
        before = {gateway: hall.judged(gateway) for gateway in LINES}
        clock.off_by(off_s)
        for gateway, judged in before.items():
            wait_until(
                lambda g=gateway, b=judged: hall.judged(g) > b + 2,
                lambda g=gateway, o=off_s: f"{g} judges on, {o} s off\n{hall.log(g)}\n{hall.get(g, '/api/status')}",
                40,
            )
    prove(hall)
    audited = rows(hall, "select count(*) from fact where kind='audit' and body like '%clock.stepped%'")
    assert audited == [(6,)]
