"""What figures are watched, how each watch stands, and when each group of readers was last told."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, maybe, metadata, tenant, text, whole, words

watch = sa.Table(
    "watch",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    text("site"),
    text("work_unit"),  # empty: the whole site
    text("name"),
    text("metric"),
    text("period"),  # what of time is summed: this_shift, today, …
    text("against"),  # value, target, warning or critical
    text("side"),  # below or above: where trouble is
    sa.Column("level", sa.Double),  # with against = value
    sa.Column("margin", sa.Double, nullable=False),  # how far beyond the level it has recovered, in the metric's unit
    whole("for_s"),
    whole("min_pieces"),
    whole("min_minutes"),  # planned busy time
    whole("in_shift"),  # 1: time outside every shift does not count
    text("severity"),
    text("readers"),  # JSON, addresses; empty: those of [mail]
    text("language"),
    whole("enabled"),
    whole("silent_until_ms"),
    whole("changed_ms"),
    text("changed_by"),
    maybe("removed_ms"),
    sa.Index("watch_by_tenant", "tenant", "removed_ms"),
)

watch_state = sa.Table(
    "watch_state",
    metadata,
    sa.Column("watch", Big, sa.ForeignKey("watch.id"), primary_key=True, autoincrement=False),
    tenant(),
    text("state"),  # ok, pending, firing or recovering
    whole("since_ms"),
    whole("looked_ms"),
    text("memory"),  # JSON: what the next step needs
    sa.Column("value", sa.Double),
    sa.Column("level", sa.Double),
    words("reason"),  # why there is no value
)

told = sa.Table(
    "told",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("readers", sa.Text, primary_key=True),  # language and addresses
    whole("told_ms"),  # when the last digest was queued
    whole("kept_back"),  # how many tellings were spared since
)
