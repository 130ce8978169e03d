"""What holds now: the newest fact wins, whatever order they come in."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, made, maybe, metadata, place, text, whole, words

work_unit = sa.Table(
    "work_unit",
    metadata,
    *place(key=True),
    sa.Column("gateway", Big, nullable=False),
    maybe("data_at"),  # newest good source time or fact of this line
    maybe("first_ms"),  # since when it counts: its earliest state or pieces
    maybe("closed_ms"),  # up to here its shifts are over, also those in which it was silent
    whole("state_at", 0),
    text("state", "UNDEFINED"),
    words("reason"),
    whole("context_at", 0),
    *made(),
    sa.Column("context_stale", sa.Boolean, nullable=False, server_default=sa.false()),
    whole("verdict_at", 0),
    words("verdict_id"),
    words("decision"),
    words("severity"),
    sa.Column("confidence", sa.Double),
    words("summary"),
)

alarm = sa.Table(
    "alarm",
    metadata,
    *place(key=True),
    sa.Column("alarm", sa.Text, primary_key=True),
    whole("changed_at"),
    sa.Column("active", sa.Boolean, nullable=False),
    text("severity"),
    text("summary"),
    words("verdict_id"),
)

job_order = sa.Table(
    "job_order",
    metadata,
    *place(key=True),
    sa.Column("job_order", sa.Text, primary_key=True),
    whole("changed_at"),
    text("product"),
    words("lot"),
    whole("quantity"),
    whole("start"),
    whole("end_at"),
    text("state"),
    sa.Column("ideal_cycle_ms", sa.Double),
    sa.Index("job_order_by_time", "tenant", "site", "work_unit", "start"),
    sa.Index("job_order_by_end", "tenant", "site", "work_unit", "end_at"),
)

product = sa.Table(
    "product",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("product", sa.Text, primary_key=True),
    whole("changed_at"),
    text("name"),
    text("ideal_cycle_ms"),
)
