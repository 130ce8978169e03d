"""Questions that people keep in sight: the plan of each, asked anew whenever somebody looks."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import Big, metadata, tenant, text, whole

pin = sa.Table(
    "pin",
    metadata,
    sa.Column("id", Big, primary_key=True),
    tenant(),
    text("title"),
    text("plan"),  # JSON of `cloud.bi.semantic.plan.Plan`
    whole("place"),  # 0, 1, 2, … within the tenant, without a hole
    whole("version", 1),  # of title and plan; who changes them says which one was seen
    whole("created_ms"),
    whole("changed_ms"),
    sa.Index("pin_by_place", "tenant", "place"),
)
