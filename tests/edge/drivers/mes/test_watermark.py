"""Reading on from a watermark: no row is lost and none is taken twice, whatever shares or misses the mark."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from edge.drivers.mes import watermark
from edge.drivers.mes.watermark import WatermarkError, advance, back, decode, encode

KST = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    "value",
    [
        0, -5, 2**80, 1.5, Decimal("12.340"), "2026-01-02 06:00:00", "", b"\x00\xff",
        datetime(2026, 1, 2, 6, 0, 0, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=KST), datetime(2026, 1, 2), date(2026, 1, 2),  # noqa: DTZ001
    ],
)  # fmt: skip
def test_a_watermark_survives_being_written_down(value):
    again = decode(encode(value))
    assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize("value", [None, True, [1], {"a": 1}])
def test_what_cannot_grow_is_no_watermark(value):
    with pytest.raises(WatermarkError):
        encode(value)


@pytest.mark.parametrize("said", [[], ["int"], ["int", "x"], ["set", "1"], ["Decimal", "x"], [1, 2]])
def test_a_watermark_that_is_none_of_ours_is_said(said):
    with pytest.raises(WatermarkError, match="begin"):
        decode(said)


def test_before_a_watermark_means_seconds_for_a_time_and_the_number_itself():
    at = datetime(2026, 1, 2, 6, 0, 10, tzinfo=UTC)
    assert back(at, 10) == at - timedelta(seconds=10)
    assert back(100, 10.0) == 90
    assert back(Decimal("1.5"), 1) == Decimal("0.5")
    assert back("2026", 10) == "2026"


def test_a_column_that_is_none_is_named():
    with pytest.raises(WatermarkError, match="NULL"):
        advance([{"at": None}], "at", None, b"", 0)
    with pytest.raises(WatermarkError, match="changes its type"):
        advance([{"at": 5}], "at", "2026", b"", 0)


def test_more_rows_on_one_watermark_than_can_be_known_are_refused(monkeypatch):
    monkeypatch.setattr(watermark, "MOST_KNOWN", 3)
    with pytest.raises(WatermarkError, match="finer column"):
        advance([{"at": 1, "lot": i} for i in range(4)], "at", None, b"", 0)


@given(
    batches=st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=12),
    late=st.lists(st.integers(0, 3), max_size=80),
    overlap=st.integers(0, 3),
    cap=st.integers(1, 4),
)
def test_every_row_is_taken_once_however_they_come(batches, late, overlap, cap):
    """A table that only grows, by rows at or up to `overlap` before the newest mark, read `cap` new rows at a time."""
    table: list[dict[str, int]] = []
    taken: list[int] = []
    since, known = None, b""
    number, newest = 0, 0
    lateness = iter(late)

    def ask() -> bool:
        nonlocal since, known
        limit = cap + len(known) // watermark.HASH_BYTES
        floor = -100 if since is None else back(since, overlap)
        rows = sorted((row for row in table if row["at"] >= floor), key=lambda row: (row["at"], hash((row["lot"], 7))))
        answer = rows[:limit]
        found = advance(answer, "at", since, known, overlap)
        taken.extend(answer[i]["lot"] for i in found.fresh)
        since, known = found.since, found.known
        return len(answer) == limit and bool(found.fresh)

    for batch in batches:
        for step in batch:
            newest = max(newest, (since or 0)) + step
            table.append({"at": max(newest - min(next(lateness, 0), overlap), (since or 0) - overlap), "lot": number})
            number += 1
        ask()
    while ask():
        pass
    assert sorted(taken) == list(range(number))
