"""Commands to gateways, and their answers."""

from __future__ import annotations

import sqlalchemy as sa

from cloud.tables.columns import maybe, metadata, text, whole

command = sa.Table(
    "command",
    metadata,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("tenant", "site", "gateway", "command")),
    text("kind"),
    text("arguments"),  # JSON
    text("actor"),
    whole("given_ms"),
    whole("expires_ms"),
    maybe("sent_ms"),  # to a session, the last time
    text("state", "given"),  # given, done, refused
    text("detail", ""),  # what the gateway said
    maybe("answered_ms"),  # by the gateway's clock
)
