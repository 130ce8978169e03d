"""The stack engine, a kill per database; and the oracle, which must find what is wrong before it may say that nothing is."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.campaign.kill import network
from tests.campaign.kill.oracle import Truth, judge
from tests.campaign.kill.parts import Stack, eventually
from tests.campaign.kill.stack import run

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("seed", [pytest.param(40_021, id="sqlite"), pytest.param(40_010, id="postgresql")])
def test_a_killed_gateway_leaves_nothing_out_and_nothing_twice(tmp_path, seed):
    result = run(count=1, seed=seed, state=tmp_path, log=print)
    assert result.violations == []
    assert result.count == 1
    assert result.faults.total() >= 1
    assert result.sums["records produced"] > 100
    assert result.sums["records produced"] == sum(result.sums[kind] for kind in ("stored", "waiting", "declared lost"))
    assert (tmp_path / "stack-kills.jsonl").exists()


TAMPERED = {
    "a row is gone": ("delete from reading where seq = (select max(seq) / 2 from reading)", "are nowhere"),
    "a row stands twice": (
        (
            "insert into fact (inc, stream, seq, tenant, kind, work_unit, at, body)"
            " select inc, stream, seq, tenant, 'x', '', 0, '{}' from reading limit 1"
        ),
        "stand in two tables",
    ),
    "a value is another one": (
        "update reading set value = 1 where seq = (select max(seq) from reading)",
        " after ",
    ),
    "a stored row is declared lost": (
        (
            "insert into loss (inc, stream, first, tenant, last, reason, declared_by, recorded_ms)"
            " select inc, stream, seq, tenant, seq, 'x', 'x', 0 from reading limit 1"
        ),
        "stored and declared lost",
    ),
    "a number nobody gave": (
        (
            "insert into reading (inc, stream, seq, tenant, tag, source_time, value)"
            " select inc, stream, 1000000, tenant, tag, source_time, 1e9 from reading order by seq desc limit 1"
        ),
        "gave no number beyond",
    ),
}


def test_the_oracle_finds_what_is_wrong(tmp_path):
    truth = Truth()
    with Stack(tmp_path / "stack", on_postgresql=False, in_namespace=False, period_ms=100, number=1) as stack:
        eventually(lambda: stack.machine.answered[0] > 30, "numbers are read", 40)
        stack.still_machine()
        eventually(lambda: stack.status().get("store", {}).get("waiting") == 0, "the queue is drained", 60)
        stack.stop("gateway")
        truth.look(stack.folder / "data")
        stack.stop("cloud")
        shutil.copy(stack.folder / "cloud.db", tmp_path / "cloud.db")
    sound = judge(f"sqlite:///{tmp_path / 'cloud.db'}", truth, restored=False)
    assert sound.violations == []
    assert sound.stored > 3_000
    for what, (sql, finds) in TAMPERED.items():
        assert any(finds in said for said in _tampered(tmp_path, truth, sql)), what
    newest = max(truth.digests, default=None)
    if newest is not None:
        truth.digests[newest] = b"another"
    truth.last[next(iter(truth.last))] += 5
    assert any("are nowhere" in said for said in judge(f"sqlite:///{tmp_path / 'cloud.db'}", truth, restored=False).violations)  # fmt: skip


def _tampered(folder: Path, truth: Truth, sql: str) -> list[str]:
    copy = folder / "tampered.db"
    shutil.copy(folder / "cloud.db", copy)
    with sqlite3.connect(copy) as connection:
        connection.execute(sql)
    connection.close()
    return judge(f"sqlite:///{copy}", truth, restored=False).violations


@pytest.mark.skipif(bool(why := network.why_not()), reason=f"no link faults in the kernel here: {why}")
def test_rules_of_a_namespace_end_with_it():
    with network.Namespace(16_000) as namespace:
        namespace.drop(percent=30)
        namespace.heal()
        namespace.reset()
        name = namespace.name
    assert name not in network._run("ip", "netns")
