"""What the keys of facts and marts mean. A code that nobody has told of yet is an inferred member: it is shown, marked.

Labels are joined when read; what changes arithmetic (an ideal cycle) stands on the fact itself.
"""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, text, whole, words


def _key(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


def _flag(name: str) -> sa.Column[int]:
    return whole(name, 0)


dim_date = sa.Table(
    "dim_date",
    metadata,
    *_key("country", "date"),  # ISO 3166-1 code of the sites it is for, empty for none; ISO date
    *[whole(name) for name in ("year", "quarter", "month", "iso_year", "iso_week", "day_of_year", "day_of_month")],
    whole("day_of_week"),  # 0 is Monday
    whole("is_weekend"),
    whole("is_holiday"),
    text("holiday_name"),
    *[whole(name) for name in ("fiscal_year", "fiscal_quarter", "fiscal_month")],
    sqlite_with_rowid=False,
)

dim_time = sa.Table(
    "dim_time",
    metadata,
    sa.Column("minute", Big, primary_key=True, autoincrement=False),  # of the local day, 0 to 1439
    whole("hour"),
    whole("minute_of_hour"),
    text("label"),  # 13:05
)

dim_shift = sa.Table(
    "dim_shift",
    metadata,
    *_key("tenant", "site", "shift"),
    text("starts"),  # local time, 22:00
    text("ends"),
    whole("minutes"),  # without a change of the clocks
    whole("break_minutes"),
    whole("is_night"),  # ends on the day after it began
    whole("position"),
    text("days"),  # ISO weekdays it begins on: 1,2,3,4,5
)

dim_shift_instance = sa.Table(
    "dim_shift_instance",
    metadata,
    *_key("tenant", "site"),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    whole("end_ms"),
    text("business_date"),
    text("shift"),  # empty outside every shift
    whole("break_ms"),
    text("zone"),
    sa.Index("dim_shift_instance_by_date", "tenant", "business_date"),
    sqlite_with_rowid=False,
)

dim_site = sa.Table(
    "dim_site",
    metadata,
    *_key("tenant", "site"),
    text("name_ko"),
    text("name_en"),
    text("zone"),
    text("country"),
)

dim_line = sa.Table(
    "dim_line",
    metadata,
    *_key("tenant", "site", "work_unit"),
    text("area"),
    text("work_center"),
    text("name_ko"),
    text("name_en"),
    whole("position"),  # in the order of the file
    _flag("inferred"),
)

dim_equipment = sa.Table(
    "dim_equipment",
    metadata,
    *_key("tenant", "site", "work_unit"),
    text("equipment"),  # last part of the path
    text("gateway"),  # that last told of it
    _flag("inferred"),
)

dim_product = sa.Table(
    "dim_product",
    metadata,
    *_key("tenant", "site", "product"),
    sa.Column("valid_from_ms", Big, primary_key=True, autoincrement=False),  # event time, not when it came
    maybe("valid_to_ms"),  # null: still so
    text("version_id"),
    maybe("recorded_ms"),  # when we were told; null for an inferred one
    text("name"),  # JSON: language → name
    text("ideal_cycle_ms"),  # JSON: work unit → planned run time per item
    _flag("inferred"),
    sa.Index("dim_product_by_version", "version_id"),
)

dim_order = sa.Table(
    "dim_order",
    metadata,
    *_key("tenant", "site", "work_unit", "job_order"),
    text("product", ""),
    words("lot"),
    maybe("quantity"),
    maybe("start"),
    maybe("end_at"),
    text("state", ""),
    whole("changed_at", 0),
    _flag("inferred"),
)

dim_lot = sa.Table(
    "dim_lot",
    metadata,
    *_key("tenant", "site", "lot"),
    text("product", ""),
    sa.Column("quantity", sa.Double),
    words("unit"),
    text("state", ""),
    words("job_order"),
    whole("changed_at", 0),
    _flag("inferred"),
)

dim_defect_type = sa.Table(
    "dim_defect_type", metadata, *_key("tenant", "defect"), text("name_ko"), text("name_en"), _flag("inferred")
)

dim_stop_reason = sa.Table(
    "dim_stop_reason",
    metadata,
    *_key("tenant", "reason"),
    text("element"),  # ISO 22400 time element it counts towards; empty where the state decides
    text("name_ko"),
    text("name_en"),
    _flag("inferred"),
)

dim_material = sa.Table(
    "dim_material",
    metadata,
    *_key("tenant", "site", "material"),
    text("unit", ""),
    maybe("safety_micro"),  # null: nobody set one
    maybe("reorder_micro"),  # null: 1.5 x the safety stock
    _flag("inferred"),
    text("set_by", ""),  # cloud.toml: the file names it, and takes it back when it no longer does
)

dim_ruleset = sa.Table("dim_ruleset", metadata, *_key("tenant", "ruleset", "version"), whole("first_seen_ms", 0))
dim_model = sa.Table("dim_model", metadata, *_key("tenant", "model"), whole("first_seen_ms", 0))

dim_kpi = sa.Table(
    "dim_kpi",
    metadata,
    *_key("kpi"),
    text("code"),  # as the older lists call it
    text("category"),
    text("unit"),
    sa.Column("target", sa.Double),
    sa.Column("warning", sa.Double),
    sa.Column("critical", sa.Double),
    whole("higher_is_better"),
    text("aggregation"),
)

kpi_target = sa.Table(
    "kpi_target",
    metadata,
    *_key("tenant", "site", "work_unit", "kpi"),  # work_unit is empty for all of the site's lines
    sa.Column("target", sa.Double, nullable=False),
    sa.Column("warning", sa.Double, nullable=False),
    sa.Column("critical", sa.Double, nullable=False),
    text("set_by", ""),
    whole("set_ms", 0),
)
