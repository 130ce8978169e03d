"""What is said and done about verdicts, found by what it is about."""

from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = """
CREATE TABLE fact_subject (
  inc {big} NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
  work_unit TEXT NOT NULL, gateway {big} NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, at {big} NOT NULL, lot TEXT,
  PRIMARY KEY (inc, stream, seq)
);
CREATE INDEX fact_subject_by_subject ON fact_subject (tenant, kind, subject, at);
CREATE INDEX fact_subject_by_time ON fact_subject (tenant, kind, at);
CREATE INDEX fact_subject_by_lot ON fact_subject (tenant, lot, kind)
"""


def upgrade() -> None:
    bind = op.get_bind()
    for statement in TABLES.format(big="INTEGER" if bind.dialect.name == "sqlite" else "BIGINT").split(";"):
        bind.exec_driver_sql(statement)
