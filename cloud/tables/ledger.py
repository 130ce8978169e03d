"""Gateways, and how far we are with them: cursors, chunks, losses, what was set aside."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, tenant, text, whole, words

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
    text("identity", "ok"),  # ok; conflict while two boxes speak with this identity
    text("box", ""),  # of the newest start
    text("public_key", ""),  # the first one ever seen, hex
    whole("resumes", 0),  # counts up: the order in which incarnations came in
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
    text("box", ""),
    text("public_key", ""),
    text("software", ""),
    maybe("heard_ms"),  # named by a resume or a heartbeat
    whole("appeared", 0),  # gateway.resumes at its first resume of its own; 0 for one that never spoke itself
    whole("resumed", 0),  # … and at its latest
    sa.Column("discarded", sa.Boolean, nullable=False, server_default=sa.false()),  # a person kept another box
    maybe("suspect_ms"),  # incomplete, and its gateway does not name it any more
    maybe("unset_step"),  # ns by which its clock was off while it had never been set
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
    whole("safe", 0),  # everything up to here is in a verified backup, too
    whole("corrected", 0),  # records that came after they had been declared lost
    sa.Column("link", sa.LargeBinary),  # of the chain after the newest chunk in sequence
    whole("link_seq", 0),  # that chunk's last record
    whole("witness_seq", 0),  # countersigned up to here
    whole("witness_ms", 0),
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
    sa.Column("before", sa.LargeBinary),  # link of the chain before it, as the gateway says; null from older gateways
    sa.Column("link", sa.LargeBinary),
    sa.Column("signature", sa.LargeBinary),  # the gateway's
    words("clock_sync"),  # sync.timing.ClockState at its commit
    maybe("uptime"),
    maybe("clock_offset_ms"),
    sa.Column("body", sa.LargeBinary),  # as it came; of the audit stream only
    sqlite_with_rowid=False,
)

witness = sa.Table(
    "witness",
    metadata,
    sa.Column("inc", Big, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", Big, primary_key=True, autoincrement=False),
    tenant(),
    sa.Column("link", sa.LargeBinary, nullable=False),
    whole("at"),
    sa.Column("signature", sa.LargeBinary, nullable=False),
)

chain_finding = sa.Table(
    "chain_finding",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    whole("inc"),
    sa.Column("stream", sa.SmallInteger, nullable=False),
    whole("first"),
    text("why"),
    whole("recorded_ms"),
    sa.UniqueConstraint("inc", "stream", "first", "why"),
)

wanted = sa.Table(
    "wanted",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    sa.Column("inc", Big, sa.ForeignKey("incarnation.id"), nullable=False),
    sa.Column("stream", sa.SmallInteger, nullable=False),
    whole("first"),
    whole("last"),
    whole("asked_ms"),
    text("asked_by", ""),
    maybe("sent_ms"),
    maybe("done_ms"),
    text("answered", "[]"),  # ranges the gateway answered, as rows or as gone
)

gateway_event = sa.Table(
    "gateway_event",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), nullable=False),
    whole("at_ms"),
    text("kind"),
    text("detail"),
)

backup = sa.Table(
    "backup",
    metadata,
    sa.Column("id", Big, primary_key=True),
    whole("made_ms"),
    text("path"),
    text("digest"),
    whole("bytes"),
    whole("recorded_ms"),
    sa.UniqueConstraint("digest"),
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
