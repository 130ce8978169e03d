"""What is sent to people: letters, their files, and what became of each for each of their readers."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, tenant, text, whole

outgoing = sa.Table(
    "outgoing",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    text("name"),  # what makes it this letter: queued once under it, and its Message-ID
    text("channel"),  # mail or webhook
    text("cause"),  # report, alert or escalation
    text("language"),
    text("subject"),
    text("body"),
    text("html"),
    whole("queued_ms"),
    whole("next_ms"),  # not tried before
    whole("attempts"),
    text("holder"),  # the process that sends it
    whole("until_ms"),  # … and until when nobody else does
    maybe("ended_ms"),  # when nothing of it was left to send
    sa.UniqueConstraint("tenant", "name"),
    sa.Index("outgoing_by_next", "ended_ms", "next_ms"),
    sa.Index("outgoing_by_time", "tenant", "queued_ms"),
)

outgoing_reader = sa.Table(
    "outgoing_reader",
    metadata,
    sa.Column("letter", Big, sa.ForeignKey("outgoing.id"), primary_key=True, autoincrement=False),
    sa.Column("address", sa.Text, primary_key=True),
    text("state"),  # queued, sent, failed or suppressed
    text("said"),  # the server's words, the last ones
    maybe("ended_ms"),
)

outgoing_file = sa.Table(
    "outgoing_file",
    metadata,
    sa.Column("letter", Big, sa.ForeignKey("outgoing.id"), primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    text("media"),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
