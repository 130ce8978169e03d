"""Additive measures by minute, hour and shift; and the buckets to recompute.

Every mart of the shift grain begins with the same columns: where, which shift instance (`start_ms`), its business date
and its code (empty outside every shift). All measures are whole numbers and add up over every dimension.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, place, tenant, text, whole

tag_minute = sa.Table(
    "tag_minute",
    metadata,
    sa.Column("minute", Big, primary_key=True, autoincrement=False),  # minutes since 1970 UTC
    sa.Column("tag", Big, primary_key=True, autoincrement=False),
    tenant(),
    whole("good"),
    whole("bad"),
    sa.Column("total", sa.Double, nullable=False),  # sum of good values
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sqlite_with_rowid=False,
)

dirty_bucket = sa.Table(
    "dirty_bucket",
    metadata,
    *place(key=True),  # work_unit is empty for a bucket of the whole site
    sa.Column("mart", sa.Text, primary_key=True),  # a kind of bucket: cloud.marts.ledger
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    whole("gen"),
    whole("due_ms"),
    sa.Index("dirty_bucket_by_due", "due_ms"),
)

MEASURES: Final = (
    *("calendar_ms", "scheduled_ms", "apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms"),
    *("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh"),
    *("judgments", "warnings", "criticals", "unknowns"),
    *("planned_micro", "failures"),
)
"""All additive. Closure: apt + setup + delay + down + unknown + planned_down = accounted part of scheduled.

planned_micro: pieces that job orders planned for the shift, in millionths, on the row of the order's product;
failures: how many times the line went from anything else to unplanned downtime.
"""

PIECES: Final = ("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh")
JUDGED: Final = ("judgments", "warnings", "criticals", "unknowns")


def _bucket() -> list[sa.Column[int] | sa.Column[str]]:
    return [*place(key=True), sa.Column("start_ms", Big, primary_key=True, autoincrement=False)]


def _key(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _when() -> list[sa.Column[str]]:
    return [text("business_date", ""), text("shift", "")]


mart_shift = sa.Table(
    "mart_shift",
    metadata,
    *_bucket(),
    *_key("product"),
    whole("end_ms"),
    text("business_date"),
    text("shift"),  # empty outside every shift
    *[whole(name, 0 if name in {"planned_micro", "failures"} else None) for name in MEASURES],
    sa.Index("mart_shift_by_date", "tenant", "business_date"),
)

mart_stop = sa.Table(
    "mart_stop",
    metadata,
    *_bucket(),
    *_key("element", "reason"),  # stop reason, else the state's name
    whole("duration_ms"),
    whole("stops"),
    *_when(),
    sa.Index("mart_stop_by_date", "tenant", "business_date"),
)

mart_defect = sa.Table(
    "mart_defect",
    metadata,
    *_bucket(),
    *_key("product", "defect"),
    whole("quantity"),
    *_when(),
    sa.Index("mart_defect_by_date", "tenant", "business_date"),
)

mart_order = sa.Table(
    "mart_order",
    metadata,
    *_bucket(),
    *_key("job_order", "lot", "product"),
    *_when(),
    *[whole(name) for name in PIECES],
    sa.Index("mart_order_by_date", "tenant", "business_date"),
    sa.Index("mart_order_by_lot", "tenant", "lot"),
    sqlite_with_rowid=False,
)

mart_judgment = sa.Table(
    "mart_judgment",
    metadata,
    *_bucket(),
    *_key("product", "ruleset", "ruleset_version", "model"),
    *_when(),
    *[whole(name) for name in JUDGED],
    whole("needs_human"),
    whole("confidence_ppm"),  # sum over the verdicts
    sa.Index("mart_judgment_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mart_quality = sa.Table(
    "mart_quality",
    metadata,
    *_bucket(),
    *_key("product", "lot", "characteristic", "unit"),
    *_when(),
    *[whole(name) for name in ("measured", "passed", "failed", "untold")],
    whole("valued"),  # how many have a number
    whole("total_micro"),  # … and their sum
    maybe("low_micro"),  # the least and the greatest of them
    maybe("high_micro"),
    sa.Index("mart_quality_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mart_hour = sa.Table(
    "mart_hour",
    metadata,
    *_bucket(),
    *_key("product"),
    *[whole(name) for name in ("produced", "good", "scrap", "rework")],
    whole("energy_wh", 0),
    sa.Index("mart_hour_by_start", "tenant", "start_ms"),
)

mart_version = sa.Table(
    "mart_version",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("mart", sa.Text, primary_key=True),  # a table's name
    whole("version"),
    whole("refreshed_ms"),
    whole("took_us", 0),  # for one bucket, at the latest refresh
    text("error", ""),  # why the latest refresh failed
    whole("row_count", 0),
)
