"""Gateways, and how far we are with them: cursors, chunks, losses, what was set aside."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, tenant, text, whole

gateway = sa.Table(
    "gateway",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    text("site"),
    text("name"),
    maybe("last_seen_ms"),
    maybe("gone_ms"),
    text("software", ""),
    maybe("clock_offset_ms"),
    whole("waiting", 0),
    whole("waiting_bytes", 0),
    maybe("oldest_at"),
    maybe("disk_free_bytes"),
    sa.Column("autonomy_hours", sa.Double),
    maybe("data_at"),
    text("sources", "{}"),
    text("holdings", "[]"),
    maybe("holdings_ms"),
    whole("conflicts", 0),
    sa.UniqueConstraint("tenant", "site", "name"),
)

incarnation = sa.Table(
    "incarnation",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), nullable=False),
    text("inc"),
    whole("ord", 0),
    text("previous", ""),
    sa.Column("closed", sa.Boolean, nullable=False, server_default=sa.false()),
    whole("first_seen_ms"),
    sa.UniqueConstraint("gateway", "inc"),
)

ingest_stream = sa.Table(
    "ingest_stream",
    metadata,
    sa.Column("inc", Big, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    tenant(),
    whole("stored", 0),  # contiguous: everything up to here is a row or a declared loss
    whole("last", 0),  # highest sequence number we ever heard of
    whole("rows", 0),  # records of this stream that are rows
)

ingest_chunk = sa.Table(
    "ingest_chunk",
    metadata,
    sa.Column("inc", Big, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("first", Big, primary_key=True, autoincrement=False),
    tenant(),
    whole("count"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    whole("stored_ms"),
    sqlite_with_rowid=False,
)

loss = sa.Table(
    "loss",
    metadata,
    sa.Column("inc", Big, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("first", Big, primary_key=True, autoincrement=False),
    tenant(),
    whole("last"),
    text("reason"),
    whole("t0", 0),
    whole("t1", 0),
    text("declared_by"),  # gateway or cloud
    whole("recorded_ms"),
)

conflict = sa.Table(
    "conflict",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    whole("inc"),
    sa.Column("stream", sa.SmallInteger, nullable=False),
    whole("first"),
    whole("count"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    text("why"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    whole("recorded_ms"),
    sa.UniqueConstraint("inc", "stream", "first", "digest"),
)

dead_letter = sa.Table(
    "dead_letter",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    whole("inc"),
    sa.Column("stream", sa.SmallInteger, nullable=False),
    whole("first"),
    whole("count"),
    text("why"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    whole("recorded_ms"),
    sa.UniqueConstraint("inc", "stream", "first"),
)
