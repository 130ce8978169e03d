"""Readings say whether they were taken live or, after an outage, from the machine's own history."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    false = "false" if op.get_bind().dialect.name == "postgresql" else "0"
    op.get_bind().exec_driver_sql(f"ALTER TABLE reading ADD COLUMN historical BOOLEAN DEFAULT {false} NOT NULL")
