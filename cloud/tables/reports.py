"""Reports as they were made, their files, and which were due."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, tenant, text, whole

report = sa.Table(
    "report",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    text("site"),
    text("kind"),  # shift or week
    text("business_date"),  # of a week its Monday
    text("shift"),  # code; empty for a week
    text("language"),
    whole("version"),  # 1, 2, …: of the same shift or week; more than 1 when it was made again
    text("schedule"),  # empty when a person asked for it
    whole("start_ms"),
    whole("end_ms"),
    whole("as_of_ms"),
    whole("made_ms"),
    text("made_by"),
    text("digest"),  # sha256 of the figures without their times: what changes when a figure is restated
    whole("restated"),  # figures that differ from the version before
    sa.Column("figures", sa.LargeBinary, nullable=False),  # the report's data, JSON, zlib
    sa.UniqueConstraint("tenant", "site", "kind", "business_date", "shift", "language", "version"),
    sa.Index("report_by_time", "tenant", "made_ms"),
)

report_file = sa.Table(
    "report_file",
    metadata,
    sa.Column("report", Big, sa.ForeignKey("report.id"), primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    tenant(),
    text("media"),
    whole("bytes"),
    whole("made_ms"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("report_file_by_time", "made_ms"),
)

report_due = sa.Table(
    "report_due",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("schedule", sa.Text, primary_key=True),
    sa.Column("business_date", sa.Text, primary_key=True),
    sa.Column("shift", sa.Text, primary_key=True),
    whole("due_ms"),
    text("state"),  # making, made, failed or missed
    text("holder"),  # the process that makes it
    whole("until_ms"),  # … and until when nobody else does
    whole("attempts"),
    text("why"),
    maybe("report"),
    maybe("ended_ms"),
    sa.Index("report_due_by_time", "tenant", "due_ms"),
)
