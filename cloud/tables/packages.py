"""Packages offered to gateways. The bytes lie in a folder (`cloud.packages.store`), not here."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import maybe, metadata, text, whole

offer = sa.Table(
    "offer",
    metadata,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("tenant", "site", "gateway", "digest")),
    whole("size"),
    text("name"),  # of the file, for people
    text("offered_by"),
    whole("offered_ms"),
    whole("expires_ms"),
    maybe("sent_ms"),  # to a session, the last time
    text("state", "offered"),  # offered, received, refused
    text("detail", ""),  # why, as the gateway said
    maybe("answered_ms"),  # by the gateway's clock
)
