"""What is summed up from the marts of the shift grain: days, and the five tables that people know as views.

A day is a business date: a night shift counts on the day it began. The `mv_` tables are for people who ask with SQL:
ratios of sums, null with a reason where there is nothing to divide by. They hold every day there is.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, place, text, whole, words
from cloud.tables.marts import MEASURES


def _day() -> list[sa.Column[str]]:
    return [*place(key=True), sa.Column("business_date", sa.Text, primary_key=True)]


def _site_day() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in ("tenant", "site", "business_date")]


def _key(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _ratios(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double) for name in names]


mart_day = sa.Table(
    "mart_day",
    metadata,
    *_day(),
    *_key("product"),
    whole("start_ms"),  # of the day's first shift instance
    *[whole(name) for name in MEASURES],
    sa.Index("mart_day_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mart_day_stop = sa.Table(
    "mart_day_stop",
    metadata,
    *_day(),
    *_key("element", "reason"),
    whole("start_ms"),
    whole("duration_ms"),
    whole("stops"),
    sa.Index("mart_day_stop_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mart_day_defect = sa.Table(
    "mart_day_defect",
    metadata,
    *_day(),
    *_key("product", "defect"),
    whole("start_ms"),
    whole("quantity"),
    sa.Index("mart_day_defect_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mart_inventory = sa.Table(
    "mart_inventory",
    metadata,
    *_key("tenant", "site", "material", "location", "business_date"),
    whole("quantity_micro"),  # the last count of that date; adds up over places, never over time
    maybe("usage_micro"),  # a day's, as the count said
    text("unit"),
    whole("at"),
    sa.Index("mart_inventory_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

TIMES: Final = ("busy_ms", "apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms")
OEE: Final = (
    *("availability", "availability_excl_setup", "performance", "effectiveness", "quality", "oee"),
    *("availability_pct", "performance_pct", "quality_pct", "oee_pct"),
)
"""performance is effectiveness, at most 1; effectiveness and oee are as they are: above 1 an ideal cycle is wrong."""

mv_oee_daily = sa.Table(
    "mv_oee_daily",
    metadata,
    *_day(),
    *_key("shift"),
    *[whole(name) for name in TIMES],
    *[whole(name) for name in ("produced", "good", "scrap", "planned_micro")],
    *_ratios(*OEE, "achievement_rate"),
    words("reason"),  # why oee is null
    whole("implausible"),  # 1 where effectiveness is above 1
    sa.Index("mv_oee_daily_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mv_defect_trend = sa.Table(
    "mv_defect_trend",
    metadata,
    *_day(),
    *_key("product", "shift"),
    *[whole(name) for name in ("produced", "good", "rejected", "classified")],
    *_ratios("defect_rate", "yield_rate", "defect_rate_7d"),  # 7 calendar days of this line and product, all shifts
    words("trend"),  # increasing, decreasing or stable: the day against the six before it
    text("top_defects"),  # JSON: [[defect, pieces], …], most first, at most 5
    sa.Index("mv_defect_trend_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mv_line_performance = sa.Table(
    "mv_line_performance",
    metadata,
    *_day(),
    *[whole(name) for name in TIMES],
    whole("scheduled_ms"),
    *[whole(name) for name in ("produced", "good", "scrap", "rejected", "planned_micro")],
    *_ratios("defect_rate", *OEE, "achievement_rate"),
    words("reason"),
    whole("products"),  # how many different ones were made
    *[whole(name) for name in ("judgments", "warnings", "criticals", "alarm_count", "breakdown_count")],
    *_ratios("utilisation", "performance_score"),
    maybe("performance_rank"),  # among the site's lines of that day; ties share it
    sa.Index("mv_line_performance_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

mv_quality_summary = sa.Table(
    "mv_quality_summary",
    metadata,
    *_site_day(),
    *[whole(name) for name in ("produced", "good", "rejected", "scrap", "rework", "classified")],
    *_ratios("defect_rate", "defect_rate_pct"),
    *[whole(name) for name in ("measured", "passed", "failed", "untold")],
    *_ratios("failed_ratio"),  # of those that were told
    sqlite_with_rowid=False,
)

mv_inventory_coverage = sa.Table(
    "mv_inventory_coverage",
    metadata,
    *_key("tenant", "site", "business_date", "material", "location"),
    whole("quantity_micro"),
    text("unit"),
    maybe("safety_micro"),
    maybe("usage_micro"),  # mean of what the counts of 7 calendar days said
    *_ratios("stock", "safety_stock", "avg_daily_usage", "coverage_days"),
    words("reason"),  # why coverage is null: no_usage, no_demand, negative_stock
    words("stock_status"),  # critical, low, normal or excess; null without a safety stock
    maybe("needs_reorder"),
    sa.Column("reorder_qty", sa.Double),
    sa.Column("at", Big, nullable=False),
    sqlite_with_rowid=False,
)
