"""Commands to gateways, and what became of each."""

from alembic import op

revision = "0006"
down_revision = "0005"

TABLE = """
CREATE TABLE command (
  tenant TEXT NOT NULL, site TEXT NOT NULL, gateway TEXT NOT NULL, command TEXT NOT NULL, kind TEXT NOT NULL,
  arguments TEXT NOT NULL, actor TEXT NOT NULL, given_ms {big} NOT NULL, expires_ms {big} NOT NULL, sent_ms {big},
  state TEXT DEFAULT 'given' NOT NULL, detail TEXT DEFAULT '' NOT NULL, answered_ms {big},
  PRIMARY KEY (tenant, site, gateway, command)
)
"""


def upgrade() -> None:
    bind = op.get_bind()
    bind.exec_driver_sql(TABLE.format(big="INTEGER" if bind.dialect.name == "sqlite" else "BIGINT"))
