"""Since when a line counts, and up to where its shifts are over: silent shifts have rows, too. Who set a safety stock.

Of what is stored already the last 400 days are looked at: older silence stays without rows.
"""

import time

from alembic import op

revision = "0012"
down_revision = "0011"

OLDEST_MS = 400 * 86_400_000
COLUMNS = """
ALTER TABLE work_unit ADD COLUMN first_ms {big};
ALTER TABLE work_unit ADD COLUMN closed_ms {big};
ALTER TABLE dim_material ADD COLUMN set_by TEXT DEFAULT '' NOT NULL
"""
BEGAN = """
UPDATE work_unit SET first_ms=(
  SELECT min(one.at) FROM (
    SELECT (SELECT min(r.at) FROM equipment_state r {of} AND r.at>={since} * 1000000) / 1000000 AS at
    UNION ALL SELECT (SELECT min(r.counted_ms) FROM production r {of} AND r.counted_ms>={since})) one)
"""
OF = "WHERE r.tenant=work_unit.tenant AND r.site=work_unit.site AND r.work_unit=work_unit.work_unit"
KINDS = {"sqlite": {"big": "INTEGER"}, "postgresql": {"big": "BIGINT"}}


def upgrade() -> None:
    bind = op.get_bind()
    for statement in COLUMNS.format(**KINDS[bind.dialect.name]).split(";"):
        bind.exec_driver_sql(statement)
    bind.exec_driver_sql(BEGAN.format(of=OF, since=time.time_ns() // 1_000_000 - OLDEST_MS))
