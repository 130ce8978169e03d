"""Since when a line counts, and up to where its shifts are over: silent shifts have rows, too. Who set a safety stock; how many rows a mart has.

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
ALTER TABLE dim_material ADD COLUMN set_by TEXT DEFAULT '' NOT NULL;
ALTER TABLE mart_version ADD COLUMN row_count {big} DEFAULT '0' NOT NULL
"""
BEGAN = """
UPDATE work_unit SET first_ms=(
  SELECT min(one.at) FROM (
    SELECT (SELECT min(r.at) FROM equipment_state r {of} AND r.at>={since} * 1000000) / 1000000 AS at
    UNION ALL SELECT (SELECT min(r.counted_ms) FROM production r {of} AND r.counted_ms>={since})) one)
"""
OF = "WHERE r.tenant=work_unit.tenant AND r.site=work_unit.site AND r.work_unit=work_unit.work_unit"
MARTS = (
    "mart_shift mart_stop mart_defect mart_order mart_judgment mart_hour mart_quality mart_day mart_day_stop"
    " mart_day_defect mv_oee_daily mv_defect_trend mv_line_performance mv_quality_summary mart_inventory"
    " mv_inventory_coverage"
)
COUNTED = "UPDATE mart_version SET row_count=(SELECT count(*) FROM {mart} m WHERE m.tenant=mart_version.tenant)"
KINDS = {"sqlite": {"big": "INTEGER"}, "postgresql": {"big": "BIGINT"}}


def upgrade() -> None:
    bind = op.get_bind()
    for statement in COLUMNS.format(**KINDS[bind.dialect.name]).split(";"):
        bind.exec_driver_sql(statement)
    bind.exec_driver_sql(BEGAN.format(of=OF, since=time.time_ns() // 1_000_000 - OLDEST_MS))
    for mart in MARTS.split():
        bind.exec_driver_sql(f"{COUNTED.format(mart=mart)} WHERE mart='{mart}'")
