"""What was put right, what does not count and why, what was computed anew, and what an audit of the marts found."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, place, tenant, text, whole, words

correction = sa.Table(
    "correction",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("inc", sa.Text, primary_key=True),  # the 32 hex digits: the fact may not have arrived, nor its gateway
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", Big, primary_key=True, autoincrement=False),
    sa.Column("rev", Big, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, primary_key=True),  # of the replacement: the same twice is one
    text("site"),  # whose gateway said it; empty for a person in the cloud
    whole("at"),
    whole("recorded_ms"),
    text("actor"),
    text("reason"),
    words("replacement"),  # JSON of a fact; null takes it back
    text("state"),  # waiting for its fact, standing, superseded, refused
    text("why", ""),
    sa.Index("correction_by_state", "state", "tenant", "inc", "stream", "seq"),
)

finding = sa.Table(
    "finding",
    metadata,
    sa.Column("id", Big, primary_key=True),
    *place(),
    whole("gateway"),
    text("code"),  # of a rule in cloud/etl/rules.toml
    text("severity"),
    sa.Column("held", sa.Boolean, nullable=False),
    text("subject"),  # what is counted as one: a record with its revision, or what a warning is about
    whole("inc"),  # the record; of several the newest
    sa.Column("stream", sa.SmallInteger, nullable=False),
    whole("seq"),
    whole("rev"),
    text("kind"),
    whole("at"),
    whole("times"),
    text("detail"),  # JSON, what the texts need
    whole("recorded_ms"),
    whole("last_ms"),
    text("state"),  # open, released, corrected, passed
    maybe("settled_ms"),
    text("settled_by", ""),
    text("settled_why", ""),
    sa.UniqueConstraint("tenant", "site", "code", "subject"),
    sa.Index("finding_by_record", "inc", "stream", "seq"),
    sa.Index("finding_by_state", "tenant", "state", "code"),
    sa.Index("finding_by_time", "tenant", "recorded_ms"),
)

ideal_cycle = sa.Table(
    "ideal_cycle",  # a planned run time that was put right for a period; of several the newest row holds
    metadata,
    sa.Column("id", Big, primary_key=True),
    *place(),  # work_unit is empty for every line
    text("product"),
    whole("from_ms"),
    whole("to_ms"),
    sa.Column("cycle_ms", sa.Double, nullable=False),
    whole("recorded_ms"),
    whole("job"),
)

etl_job = sa.Table(
    "etl_job",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    text("kind"),  # restate, rebuild
    text("state"),  # queued, running, refreshing, done, failed
    sa.Column("dry_run", sa.Boolean, nullable=False),
    text("asked"),  # JSON: period, lines, product, cycle
    text("actor"),
    text("reason"),
    whole("asked_ms"),
    maybe("started_ms"),
    maybe("ended_ms"),
    whole("buckets", 0),
    whole("done_buckets", 0),
    whole("changed", 0),
    sa.Column("equal", sa.Boolean),
    text("error", ""),
    sa.Index("etl_job_by_tenant", "tenant", "id"),
    sa.Index("etl_job_by_state", "state", "id"),
)

etl_figure = sa.Table(
    "etl_figure",  # what a job changed, by shift and product
    metadata,
    sa.Column("job", Big, primary_key=True, autoincrement=False),
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("work_unit", sa.Text, primary_key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, primary_key=True),
    text("business_date"),
    text("shift"),
    text("before"),  # JSON: measure → value
    text("after"),
)

mart_mismatch = sa.Table(
    "mart_mismatch",
    metadata,
    sa.Column("id", Big, primary_key=True),
    *place(),
    text("mart"),
    whole("start_ms"),
    text("line"),  # JSON: the row's own key within the bucket
    text("measure"),
    words("stored"),  # JSON of the value; null where there is no such row
    words("recomputed"),
    whole("found_ms"),
    whole("last_ms"),
    maybe("mended_ms"),
    sa.Index("mart_mismatch_open", "tenant", "mended_ms", "site", "work_unit", "mart", "start_ms"),
)

mart_audit = sa.Table(
    "mart_audit",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    whole("checked", 0),
    whole("differing", 0),
    maybe("last_ms"),
    maybe("mismatch_ms"),
)

deed = sa.Table(
    "deed",  # what people did to data here; never changed
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    whole("at_ms"),
    text("actor"),
    text("action"),  # correct, retract, release, retry, restate, rebuild
    text("target"),
    text("reason"),
    text("detail"),  # JSON
    sa.Index("deed_by_time", "tenant", "at_ms"),
)
