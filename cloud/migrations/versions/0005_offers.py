"""Packages offered to gateways, and what became of each."""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLE = """
CREATE TABLE offer (
  tenant TEXT NOT NULL, site TEXT NOT NULL, gateway TEXT NOT NULL, digest TEXT NOT NULL, size {big} NOT NULL,
  name TEXT NOT NULL, offered_by TEXT NOT NULL, offered_ms {big} NOT NULL, expires_ms {big} NOT NULL, sent_ms {big},
  state TEXT DEFAULT 'offered' NOT NULL, detail TEXT DEFAULT '' NOT NULL, answered_ms {big},
  PRIMARY KEY (tenant, site, gateway, digest)
)
"""


def upgrade() -> None:
    bind = op.get_bind()
    bind.exec_driver_sql(TABLE.format(big="INTEGER" if bind.dialect.name == "sqlite" else "BIGINT"))
