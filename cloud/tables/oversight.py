"""What is watched over the ledger: hours as the gateways tallied them, alerts, and the audit log's index."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, record, tenant, text, whole
from cloud.tables.ledger import loss

sa.Index("loss_by_time", loss.c.tenant, loss.c.recorded_ms)

tally = sa.Table(
    "tally",
    metadata,
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), primary_key=True, autoincrement=False),
    sa.Column("inc", sa.Text, primary_key=True),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("first", Big, primary_key=True, autoincrement=False),
    tenant(),
    whole("last"),
    whole("start"),  # ns, begin of the hour; one hour may be tallied in parts, when the clock jumped in it
    whole("end_at"),  # ns, when the counting ended
    sa.Index("tally_by_time", "tenant", "start"),
)

audit_entry = sa.Table(
    "audit_entry",
    metadata,
    *record(),
    tenant(),
    text("site"),
    text("gateway"),
    whole("at"),
    text("actor"),
    text("action"),
    text("target"),
    text("words"),  # sync.testimony.search_text of the record
    sa.Index("audit_entry_by_time", "tenant", "at"),
)

alert = sa.Table(
    "alert",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    text("site"),  # empty with `gateway` for what concerns the cloud itself
    text("gateway"),
    text("kind"),
    text("severity"),
    text("detail"),  # JSON, what the texts need
    whole("raised_ms"),
    maybe("cleared_ms"),
    text("work_unit", ""),
    text("subject", ""),  # of a watch's alert the watch; empty else
    text("readers", ""),  # JSON, addresses; empty: those of [mail]
    text("language", ""),
    maybe("acked_ms"),
    text("acked_by", ""),
    text("note", ""),
    whole("silent_until_ms", 0),
    maybe("told_ms"),  # when people were last told that it stands
    whole("tellings", 0),
    whole("escalated_min", 0),  # the last step of [[escalation]] it took, by its minutes
    maybe("end_told_ms"),  # when nothing about it was left to tell
    sa.Index("alert_by_time", "tenant", "raised_ms"),
    sa.Index("alert_by_subject", "tenant", "kind", "subject", "raised_ms"),
    sa.Index("alert_by_telling", "tenant", "end_told_ms", "cleared_ms"),
    sa.Index("alert_by_gateway", "tenant", "site", "gateway", "kind", "cleared_ms"),
)
