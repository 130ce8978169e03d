"""Additive measures by minute, hour and shift; and the buckets to recompute."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, metadata, place, tenant, text, whole

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
    *place(key=True),
    sa.Column("mart", sa.Text, primary_key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    whole("gen"),
    whole("due_ms"),
    sa.Index("dirty_bucket_by_due", "due_ms"),
)

MEASURES = (
    *("calendar_ms", "scheduled_ms", "apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms"),
    *("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh"),
    *("judgments", "warnings", "criticals", "unknowns"),
)
"""All additive. Closure: apt + setup + delay + down + unknown + planned_down = accounted part of scheduled."""

mart_shift = sa.Table(
    "mart_shift",
    metadata,
    *place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, primary_key=True),
    whole("end_ms"),
    text("business_date"),
    text("shift"),  # empty outside every shift
    *[whole(name) for name in MEASURES],
    sa.Index("mart_shift_by_date", "tenant", "business_date"),
)

mart_stop = sa.Table(
    "mart_stop",
    metadata,
    *place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("element", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),  # stop reason, else the state's name
    whole("duration_ms"),
    whole("stops"),
)

mart_defect = sa.Table(
    "mart_defect",
    metadata,
    *place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, primary_key=True),
    sa.Column("defect", sa.Text, primary_key=True),
    whole("quantity"),
)

mart_hour = sa.Table(
    "mart_hour",
    metadata,
    *place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, primary_key=True),
    *[whole(name) for name in ("produced", "good", "scrap", "rework")],
)

mart_version = sa.Table(
    "mart_version",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("mart", sa.Text, primary_key=True),
    whole("version"),
    whole("refreshed_ms"),
)
