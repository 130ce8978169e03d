"""Rows of a database become the agreed rows: names, NULLs, numbers, times."""

from __future__ import annotations

import uuid
import zoneinfo
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from edge.drivers.mes.columns import named, rows_of
from edge.drivers.mes.records import JobOrder, Lot, QualityResult, RowError, record

SEOUL = zoneinfo.ZoneInfo("Asia/Seoul")
AT = datetime(2026, 1, 2, 6, tzinfo=UTC)


def one(kind, row, zone=None, unit=None):
    (found,) = rows_of(kind, [row], zone, unit)
    if isinstance(found, RowError):
        raise found
    return record(kind, found)


def order(**more):
    return {"order": "A-1", "product": "cola", "quantity": 5, "start": AT, "end": AT, "state": "running", **more}


def test_columns_go_by_the_names_of_the_fields():
    assert named(["JOB_ORDER", "Product", "start_at", "end_at", "x"]) == ["order", "product", "start", "end", "x"]


def test_numbers_and_keys_come_in_the_database_s_own_types():
    row = order(order=4711, quantity=Decimal("1200.000"), ideal_cycle_ms=Decimal("600.5"), lot=uuid.UUID(int=7))
    found = one("job_orders", row, unit="a/b/c")
    assert found == JobOrder(
        order="4711", product="cola", work_unit="a/b/c", quantity=1200, start=AT, end=AT, state="running",
        lot=str(uuid.UUID(int=7)), ideal_cycle_ms=600.5,
    )  # fmt: skip
    assert one("lots", {"lot": "L1   ", "product": Decimal(5)}) == Lot(lot="L1", product="5")
    assert one("job_orders", order(quantity=5.0), unit="a/b/c").quantity == 5


def test_null_is_nothing_where_nothing_may_be_and_a_fault_elsewhere():
    assert one("lots", {"lot": "L1", "product": "cola", "quantity": None, "state": None, "work_unit": None}) == Lot(
        lot="L1", product="cola"
    )
    with pytest.raises(RowError, match="required field `product`"):
        one("lots", {"lot": "L1", "product": None})


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        (datetime(2026, 1, 2, 15), SEOUL, AT),  # noqa: DTZ001
        (AT, None, AT),
        ("2026-01-02T06:00:00Z", None, AT),
        ("2026-01-02 15:00:00+09:00", None, AT),
        ("2026-01-02 15:00:00", SEOUL, AT),
        (date(2026, 1, 2), SEOUL, datetime(2026, 1, 1, 15, tzinfo=UTC)),
    ],
)
def test_times(value, zone, expected):
    assert one("job_orders", order(start=value), zone, "a/b/c").start == expected


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"start": datetime(2026, 1, 2)}, 'timezone = "Asia/Seoul"'),  # noqa: DTZ001
        ({"start": "tomorrow"}, "is no time"),
        ({"start": 1767333600}, "a time cannot be a int"),
        ({"quantity": Decimal("5.5")}, "int"),
        ({"quantity": Decimal("NaN")}, "int"),
        ({"order": b"\x01"}, "binary"),
        ({"order": True}, "str"),
        ({"order": ["a"]}, "str"),
    ],
)
def test_what_does_not_fit_is_a_fault_of_the_row(more, said):
    with pytest.raises(RowError, match=said) as caught:
        one("job_orders", order(**more), None, "a/b/c")
    assert caught.value.field == next(iter(more))


def test_a_quality_result_is_a_number_or_a_text_and_passed_is_a_bit():
    row = {"characteristic": "brix", "at": AT, "value": Decimal("10.6"), "passed": 1}
    assert one("quality_results", row) == QualityResult(characteristic="brix", at=AT, value=10.6, passed=True)
    assert one("quality_results", row | {"value": "clear", "passed": False}).value == "clear"


def test_a_product_has_a_row_for_each_work_unit_that_makes_it():
    rows = [
        {"product": "cola", "name_ko": "콜라", "name_en": "Cola", "work_unit": "a/b/c", "ideal_cycle_ms": Decimal(600)},
        {"product": "cola", "name_ko": "콜라", "name_en": "Cola", "work_unit": "a/b/d", "ideal_cycle_ms": 240.5},
        {"product": 7, "name": "Water", "work_unit": None, "ideal_cycle_ms": None},
    ]
    assert rows_of("products", rows, None, None) == [
        {"product": "cola", "name": {"ko": "콜라", "en": "Cola"}, "ideal_cycle_ms": {"a/b/c": 600, "a/b/d": 240.5}},
        {"product": "7", "name": {"ko": "Water", "en": "Water"}},
    ]
