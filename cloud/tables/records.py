"""Records as they came, and the columns that queries need of them."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, made, maybe, metadata, place, record, tenant, text, whole, words

tag = sa.Table(
    "tag",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), nullable=False),
    text("name"),
    text("work_unit"),
    words("unit"),
    text("role"),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.UniqueConstraint("gateway", "name"),
)

dictionary = sa.Table(
    "dictionary",
    metadata,
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), primary_key=True, autoincrement=False),
    sa.Column("version", sa.Text, primary_key=True),
    tenant(),
    text("tags"),  # JSON: our tag numbers in the gateway's order
)

reading = sa.Table(
    "reading",
    metadata,
    *record(),
    tenant(),
    whole("tag"),
    whole("source_time"),
    maybe("server_time"),  # only where it differs from source_time
    sa.Column("value", sa.Double),
    words("other"),  # JSON of a value that is no float64
    whole("status", 0),
    sa.Column("historical", sa.Boolean, nullable=False, server_default=sa.false()),  # from the machine's own history
    sqlite_with_rowid=False,
)

fact = sa.Table(
    "fact",
    metadata,
    *record(),
    tenant(),
    text("kind"),
    text("work_unit"),
    whole("at"),
    text("body"),
    sa.Index("fact_by_time", "tenant", "at"),
    sqlite_with_rowid=False,
)


equipment_state = sa.Table(
    "equipment_state",
    metadata,
    *record(),
    *place(),
    whole("at"),
    text("state"),
    words("reason"),
    whole("status"),
    *made(),
    sa.Index("equipment_state_by_time", "tenant", "site", "work_unit", "at"),
)

production = sa.Table(
    "production",
    metadata,
    *record(),
    *place(),
    whole("start"),
    whole("at"),
    whole("counted_ms"),  # the ms in whose shift and hour these pieces count: the last of [start, at)
    *[whole(name) for name in ("produced", "good", "scrap", "rework")],
    maybe("ideal_us"),  # produced x ideal cycle; null when the cycle is not known
    maybe("ideal_good_us"),
    whole("energy_wh", 0),
    *made(),
    sa.Index("production_by_time", "tenant", "site", "work_unit", "counted_ms"),
)

production_defect = sa.Table(
    "production_defect",
    metadata,
    *record(),
    sa.Column("defect", sa.Text, primary_key=True),
    *place(),
    whole("counted_ms"),
    words("product"),
    whole("quantity"),
    sa.Index("production_defect_by_time", "tenant", "site", "work_unit", "counted_ms"),
)

judgment = sa.Table(
    "judgment",
    metadata,
    *record(),
    *place(),
    text("verdict_id"),
    whole("start"),
    whole("at"),
    text("decision"),
    text("severity"),
    sa.Column("confidence", sa.Double, nullable=False),
    text("ruleset"),
    text("summary"),
    *made(),
    text("ruleset_version", ""),
    text("model", ""),  # `name version` of the model that took part
    whole("needs_human", 0),
    whole("confidence_ppm", 0),
    sa.Index("judgment_by_time", "tenant", "at"),
    sa.Index("judgment_by_line", "tenant", "site", "work_unit", "at"),
    sa.Index("judgment_by_verdict", "tenant", "verdict_id"),
)

fact_subject = sa.Table(
    "fact_subject",  # facts of judging beside verdicts, by what they are about; what they say stands in `fact`
    metadata,
    *record(),
    *place(),  # work_unit is empty where a fact is about the whole gateway
    whole("gateway"),
    text("kind"),
    text("subject"),  # a verdict's, an action's or a ruleset's id; a model, a control point
    whole("at"),
    words("lot"),
    sa.Index("fact_subject_by_subject", "tenant", "kind", "subject", "at"),
    sa.Index("fact_subject_by_time", "tenant", "kind", "at"),
    sa.Index("fact_subject_by_lot", "tenant", "lot", "kind"),
)

alarm_change = sa.Table(
    "alarm_change",
    metadata,
    *record(),
    *place(),
    whole("at"),
    text("alarm"),
    sa.Column("active", sa.Boolean, nullable=False),
    text("severity"),
    text("summary"),
    words("verdict_id"),
    sa.Index("alarm_change_by_time", "tenant", "at"),
    sa.Index("alarm_change_by_alarm", "tenant", "site", "work_unit", "alarm", "active", "at"),
)

gap = sa.Table(
    "gap",
    metadata,
    *record(),
    *place(),
    whole("start"),
    whole("at"),
    text("source"),
    whole("tags"),
    text("reason"),
    sa.Index("gap_by_time", "tenant", "site", "work_unit", "at"),
)

inventory = sa.Table(
    "inventory",
    metadata,
    *record(),
    *[text(name) for name in ("tenant", "site", "material", "location")],
    whole("at"),
    sa.Column("quantity", sa.Double, nullable=False),
    text("unit"),
    sa.Column("daily_usage", sa.Double),
    maybe("quantity_micro"),  # null for a quantity that cannot be: it takes part in no mart
    maybe("usage_micro"),
    sa.Index("inventory_by_time", "tenant", "site", "at"),
    sa.Index("inventory_by_material", "tenant", "site", "material", "at"),
)

quality_measurement = sa.Table(
    "quality_measurement",
    metadata,
    *record(),
    *place(),  # work_unit is empty where the laboratory named none
    whole("at"),
    text("characteristic"),
    sa.Column("value", sa.Double),
    words("other"),  # a result that is no number
    words("unit"),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.Column("passed", sa.Boolean),  # null when the source did not say
    text("sample"),
    *made(),
    maybe("value_micro"),
    sa.Index("quality_measurement_by_time", "tenant", "site", "work_unit", "at"),
    sa.Index("quality_measurement_by_characteristic", "tenant", "site", "work_unit", "characteristic", "at"),
    sa.Index("quality_measurement_by_lot", "tenant", "lot"),
)

job_response = sa.Table(
    "job_response",
    metadata,
    *record(),
    *place(),
    whole("start"),
    whole("at"),
    text("response"),
    *made(),
    *[whole(name) for name in ("produced", "good", "scrap", "rework")],
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Index("job_response_by_order", "tenant", "site", "work_unit", "job_order"),
)

product_definition = sa.Table(
    "product_definition",  # every one that came; the versions of dim_product are made of them, by event time
    metadata,
    *record(),
    *[text(name) for name in ("tenant", "site", "product")],
    whole("at"),
    text("name"),
    text("ideal_cycle_ms"),
    maybe("recorded_ms"),
    sa.Index("product_definition_by_product", "tenant", "site", "product", "at"),
)
