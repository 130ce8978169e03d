"""How far an alert that nobody acknowledged was escalated."""

from alembic import op

revision = "0013"
down_revision = "0012"

KINDS = {"sqlite": "INTEGER", "postgresql": "BIGINT"}


def upgrade() -> None:
    bind = op.get_bind()
    bind.exec_driver_sql(f"ALTER TABLE alert ADD COLUMN escalated_min {KINDS[bind.dialect.name]} DEFAULT '0' NOT NULL")
