"""The auditor finds what is missing, doubled or strange, however well the product speaks of itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.ledger import account, covered, made

INC = "ab" * 16


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A gateway's file with 10 facts and 6 readings, the first 8 and all 6 of which are in the cloud; 2 wait."""
    edge, cloud = tmp_path / "edge.db", tmp_path / "cloud.db"
    with sqlite3.connect(edge) as db:
        db.executescript(f"""
            create table meta (key text primary key, value any);
            create table incarnation (ord integer, inc text);
            create table lane (ord integer, stream integer, last integer);
            create table chunk (ord integer, stream integer, first integer, count integer);
            create table loss (ord integer, stream integer, first integer, last integer);
            insert into meta values ('sealed_produced', 0);
            insert into incarnation values (1, '{INC}');
            insert into lane values (1, 2, 10), (1, 3, 6);
            insert into chunk values (1, 2, 9, 2);
        """)
    with sqlite3.connect(cloud) as db:
        db.executescript(f"""
            create table gateway (id integer, name text);
            create table incarnation (id integer, gateway integer, inc text);
            create table fact (inc integer, stream integer, seq integer, body text);
            create table reading (inc integer, stream integer, seq integer);
            create table loss (inc integer, stream integer, first integer, last integer);
            create table production (work_unit text, produced integer, good integer, scrap integer);
            create table production_defect (work_unit text, defect text, quantity integer);
            insert into gateway values (1, 'gw'), (2, 'other');
            insert into incarnation values (5, 1, '{INC}'), (6, 2, '{"cd" * 16}');
            insert into production values ('a/b/c', 5, 4, 1), ('a/b/c', 7, 7, 0);
            insert into production_defect values ('a/b/c', 'cap', 1);
        """)
        db.executemany("insert into fact values (5, 2, ?, '')", [(n,) for n in range(1, 9)])
        db.executemany("insert into reading values (5, 3, ?)", [(n,) for n in range(1, 7)])
        db.executemany("insert into fact values (6, 2, ?, '')", [(n,) for n in range(1, 100)])
    return edge, cloud


def change(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.commit()
    connection.close()


def test_what_adds_up_adds_up(files):
    found = account(*files, "gw")
    assert (found.produced, found.stored, found.waiting, found.lost) == (16, 14, 2, 0)
    assert found.balanced


def test_a_chunk_that_is_stored_but_not_yet_forgotten_waits_for_nothing(files):
    change(files[0], "insert into chunk values (1, 2, 5, 4)")
    assert account(*files, "gw").waiting == 2


def test_a_vanished_record_is_a_hole(files):
    change(files[1], "delete from fact where inc = 5 and seq = 3")
    found = account(*files, "gw")
    assert not found.balanced
    assert "stream 2" in found.holes[0]


def test_a_declared_loss_counts_once_though_both_sides_know_it(files):
    change(files[1], "delete from fact where inc = 5 and seq in (3, 4)")
    change(files[1], "insert into loss values (5, 2, 3, 4)")
    change(files[0], "insert into loss values (1, 2, 3, 4)")
    found = account(*files, "gw")
    assert found.lost == 2
    assert found.balanced


def test_a_record_in_two_tables_is_found(files):
    change(files[1], "insert into reading values (5, 2, 3)")
    found = account(*files, "gw")
    assert found.twice == 1
    assert not found.balanced


def test_a_row_the_gateway_never_numbered_is_found(files):
    change(files[1], "insert into fact values (5, 2, 11, '')")
    found = account(*files, "gw")
    assert found.strangers == 1
    assert not found.balanced


def test_pieces_are_summed_per_line_and_defect(files):
    assert made(files[1]) == {"a/b/c": {"produced": 12, "good": 11, "scrap": 1, "cap": 1}}


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)).map(lambda r: (r[0], r[0] + r[1]))))
def test_overlapping_ranges_are_counted_once(ranges):
    assert covered(ranges) == len({n for first, last in ranges for n in range(first, last + 1)})
