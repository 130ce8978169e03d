"""The simulation itself: it is deterministic, its oracle sees what is wrong, and it catches what is broken."""

from __future__ import annotations

import pytest

from tests.campaign import simulation
from tests.campaign.simulation.account import Account
from tests.campaign.simulation.mutants import MUTANTS
from tests.campaign.simulation.mutants.mutant import Mutant
from tests.campaign.simulation.plan import KINDS, make
from tests.campaign.simulation.ranges import covers, holes, merged
from tests.campaign.simulation.simulate import Simulation, silent, simulate
from tests.campaign.simulation.world import ViolationError

PURE = frozenset(KINDS)
"""Without all of these a seed is a quiet day."""


def test_a_dozen_seeds_hold_every_invariant():
    result = simulation.run(count=8, seed=900_001, state=None, log=print)
    assert result.ok, result.violations
    assert result.count == 8
    assert result.faults.total() > 100
    assert set(KINDS) <= set(result.faults)


@pytest.mark.parametrize("seed", [5, 20, 24, 40, 45, 65, 110, 229, 735])
def test_a_seed_that_once_failed_holds(seed: int):
    assert not simulate(make(seed)).violations


def test_the_same_seed_leaves_the_same_trace_and_another_seed_another():
    one, two = (simulate(make(41), keep=True) for _ in range(2))
    assert one.tail == two.tail
    assert one.digest == two.digest != simulate(make(43)).digest


def test_a_campaign_that_was_stopped_goes_on(tmp_path):
    said: list[str] = []
    simulation.run(count=2, seed=31, state=tmp_path, log=said.append)
    (file,) = tmp_path.iterdir()
    lines = file.read_text().splitlines()
    file.write_text(lines[0] + "\n")
    result = simulation.run(count=2, seed=31, state=tmp_path, log=said.append)
    assert result.ok
    assert len(file.read_text().splitlines()) == 2


def test_taking_a_kind_away_changes_nothing_of_the_others():
    plan = make(7)
    kind = min(plan.kinds)
    less = make(7, without=frozenset({kind}))
    assert less.faults == tuple(fault for fault in plan.faults if fault.kind != kind)


def test_ranges():
    assert merged([(4, 5), (1, 2), (3, 3), (9, 9)]) == [(1, 5), (9, 9)]
    assert holes(1, 12, [(1, 5), (9, 9)]) == [(6, 8), (10, 12)]
    assert covers([(1, 5)], 2, 5)
    assert not covers([(1, 5)], 2, 6)


# --- the oracle ---


@pytest.fixture(scope="module")
def quiet():
    """Give a world in which nothing went wrong, at its end."""

    class Kept(Simulation):
        def close(self) -> None:
            pass

    with silent():
        done = Kept(make(4, without=PURE))
        outcome = done.run()
    assert not outcome.violations
    yield done
    Simulation.close(done)


def _judged(world: Simulation) -> None:
    with silent():
        world.oracle.final()


WRONG = {
    "a row is gone": (
        "delete from fact where (inc, stream, seq) in (select inc, stream, seq from fact limit 1)",
        "I-1",
    ),
    "a reading is gone": ("delete from reading where seq in (select min(seq) from reading where seq>1)", "I-1"),
    "a row is another one's": ("update fact set body=body||' ' where stream=2", "I-3"),
    "a row stands twice": (
        "insert into fact select inc, stream, seq+900, tenant, kind, work_unit, at, body from fact limit 1",
        "I-2",
    ),
    "a value is another": ("update reading set value=value+1", "I-"),
    "a chunk was written over": ("update ingest_chunk set digest=x'00'", "I-4"),
    "a chunk is gone": ("delete from ingest_chunk where first=1 and stream=2", "I-4"),
    "a watermark went back": ("update ingest_stream set stored=0 where stream=2", "I-5"),
    "a watermark is too far": ("update ingest_stream set stored=stored+5 where stream=2", "I-5"),
    "a loss that nothing explains": (
        """insert into loss(inc, stream, first, tenant, last, reason, t0, t1, declared_by, recorded_ms)
        select inc, stream, last+1, tenant, last+9, 'shed', 0, 0, 'gateway', 0 from ingest_stream limit 1""",
        "nothing explains",
    ),
    "sums that are none": ("update tag_minute set good=good+1", "I-2"),
    "a link that is none": ("update ingest_chunk set link=x'00' where first=1", "I-14"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_oracle_sees_it_when(quiet: Simulation, what: str):
    sql, said = WRONG[what]
    database = quiet.cloud.database
    _judged(quiet)
    database.begin()
    try:
        database.execute(sql)
        with pytest.raises(ViolationError, match=said):
            _judged(quiet)
    finally:
        database.rollback()
        quiet.oracle._stored.clear()
        quiet.oracle._chunks.clear()
    _judged(quiet)


def test_the_oracle_sees_a_record_that_is_nowhere(quiet: Simulation):
    """Its chunk, its rows and its place on the gateway all gone, as if it had never been: the truth remembers it."""
    box = quiet.boxes[0]
    piece = max((p for p in box.read.pieces if p.stream == 2), key=lambda p: p.first)
    database = quiet.cloud.database
    database.begin()
    box.disk.execute("BEGIN")
    try:
        for table, column in (("fact", "seq"), ("ingest_chunk", "first")):
            database.execute(
                f"delete from {table} where inc=(select id from incarnation where inc=?) and stream=? and {column}>=?",
                (piece.inc, piece.stream, piece.first),
            )
        box.disk.execute("DELETE FROM chunk WHERE stream = ? AND first = ?", (piece.stream, piece.first))
        account = Account(quiet)
        account.rows()
        with pytest.raises(ViolationError, match="silent loss"):
            account.records()
    finally:
        database.rollback()
        box.disk.execute("ROLLBACK")


def test_the_oracle_sees_a_gateway_forget(quiet: Simulation):
    box = quiet.boxes[0]
    _judged(quiet)
    held = {(p.inc, p.stream, p.first) for p in box.read.pieces}
    backed_up, quiet.cloud.backed_up = quiet.cloud.backed_up, set()
    try:
        quiet.oracle._held[box.name] = (box.disks, 1, dict.fromkeys(held, 3))
        with pytest.raises(ViolationError, match="I-8"):
            quiet.oracle._box(box)
    finally:
        quiet.cloud.backed_up = backed_up
        quiet.oracle._held.clear()


# --- broken variants ---


@pytest.mark.parametrize("name", ["DeleteOnPuback", "WatermarkIsNewest", "StoresTwice"])
def test_a_broken_variant_is_caught(name: str):
    mutant = next(one for one in MUTANTS if one.__name__ == name)
    assert any(mutant.outcome(seed).violations for seed in range(1, 30))


def test_every_variant_says_what_it_breaks_and_mends_it_again():
    assert len({mutant.sentence for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert len([mutant for mutant in MUTANTS if not mutant.survives]) >= 18
    for mutant in MUTANTS:
        assert mutant.kinds <= set(KINDS)
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in mutant.patches()]
        with mutant.applied():
            pass
        assert all(getattr(owner, name) == value for owner, name, value in before)
    assert not simulate(make(4, without=PURE)).violations


def test_the_right_protocol_is_no_mutant():
    assert not Mutant.outcome(4).violations
