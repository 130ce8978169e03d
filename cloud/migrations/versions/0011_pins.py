"""Questions that people keep in sight."""

from alembic import op

revision = "0011"
down_revision = "0010"

TABLES = """
CREATE TABLE pin (
  id {serial} NOT NULL, tenant TEXT NOT NULL, title TEXT NOT NULL, plan TEXT NOT NULL, place {big} NOT NULL,
  version {big} DEFAULT '1' NOT NULL, created_ms {big} NOT NULL, changed_ms {big} NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX pin_by_place ON pin (tenant, place)
"""
KINDS = {"sqlite": {"big": "INTEGER", "serial": "INTEGER"}, "postgresql": {"big": "BIGINT", "serial": "BIGSERIAL"}}


def upgrade() -> None:
    bind = op.get_bind()
    for statement in TABLES.format(**KINDS[bind.dialect.name]).split(";"):
        bind.exec_driver_sql(statement)
