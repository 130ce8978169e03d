"""Corrections, findings about facts, restatements, what an audit of the marts found, and who did what to data."""

from alembic import op

revision = "0009"
down_revision = "0008"

TABLES = """
CREATE TABLE correction (
  tenant TEXT NOT NULL, inc TEXT NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, rev {big} NOT NULL,
  digest TEXT NOT NULL, site TEXT NOT NULL, at {big} NOT NULL, recorded_ms {big} NOT NULL, actor TEXT NOT NULL,
  reason TEXT NOT NULL, replacement TEXT, state TEXT NOT NULL, why TEXT DEFAULT '' NOT NULL,
  PRIMARY KEY (tenant, inc, stream, seq, rev, digest)
);
CREATE INDEX correction_by_state ON correction (state, tenant, inc, stream, seq);
CREATE TABLE finding (
  id {serial} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, gateway {big} NOT NULL,
  code TEXT NOT NULL, severity TEXT NOT NULL, held BOOLEAN NOT NULL, subject TEXT NOT NULL, inc {big} NOT NULL,
  stream SMALLINT NOT NULL, seq {big} NOT NULL, rev {big} NOT NULL, kind TEXT NOT NULL, at {big} NOT NULL,
  times {big} NOT NULL, detail TEXT NOT NULL, recorded_ms {big} NOT NULL, last_ms {big} NOT NULL, state TEXT NOT NULL,
  settled_ms {big}, settled_by TEXT DEFAULT '' NOT NULL, settled_why TEXT DEFAULT '' NOT NULL, PRIMARY KEY (id),
  UNIQUE (tenant, site, code, subject)
);
CREATE INDEX finding_by_record ON finding (inc, stream, seq);
CREATE INDEX finding_by_state ON finding (tenant, state, code);
CREATE INDEX finding_by_time ON finding (tenant, recorded_ms);
CREATE TABLE ideal_cycle (
  id {serial} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, product TEXT NOT NULL,
  from_ms {big} NOT NULL, to_ms {big} NOT NULL, cycle_ms {double} NOT NULL, recorded_ms {big} NOT NULL,
  job {big} NOT NULL, PRIMARY KEY (id)
);
CREATE TABLE etl_job (
  id {serial} NOT NULL, tenant TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, dry_run BOOLEAN NOT NULL,
  asked TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, asked_ms {big} NOT NULL, started_ms {big},
  ended_ms {big}, buckets {big} DEFAULT '0' NOT NULL, done_buckets {big} DEFAULT '0' NOT NULL,
  changed {big} DEFAULT '0' NOT NULL, equal BOOLEAN, error TEXT DEFAULT '' NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX etl_job_by_tenant ON etl_job (tenant, id);
CREATE INDEX etl_job_by_state ON etl_job (state, id);
CREATE TABLE etl_figure (
  job {big} NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, start_ms {big} NOT NULL, product TEXT NOT NULL,
  business_date TEXT NOT NULL, shift TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
  PRIMARY KEY (job, site, work_unit, start_ms, product)
);
CREATE TABLE mart_mismatch (
  id {serial} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, mart TEXT NOT NULL,
  start_ms {big} NOT NULL, line TEXT NOT NULL, measure TEXT NOT NULL, stored TEXT, recomputed TEXT,
  found_ms {big} NOT NULL, last_ms {big} NOT NULL, mended_ms {big}, PRIMARY KEY (id)
);
CREATE INDEX mart_mismatch_open ON mart_mismatch (tenant, mended_ms, site, work_unit, mart, start_ms);
CREATE TABLE mart_audit (
  tenant TEXT NOT NULL, checked {big} DEFAULT '0' NOT NULL, differing {big} DEFAULT '0' NOT NULL, last_ms {big},
  mismatch_ms {big}, PRIMARY KEY (tenant)
);
CREATE TABLE deed (
  id {serial} NOT NULL, tenant TEXT NOT NULL, at_ms {big} NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  target TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX deed_by_time ON deed (tenant, at_ms)
"""
KINDS = {
    "sqlite": {"big": "INTEGER", "serial": "INTEGER", "double": "DOUBLE"},
    "postgresql": {"big": "BIGINT", "serial": "BIGSERIAL", "double": "DOUBLE PRECISION"},
}

SQLITE = """
CREATE TRIGGER deed_update BEFORE UPDATE ON deed
BEGIN SELECT raise(ABORT, 'audit records are never changed'); END;
CREATE TRIGGER deed_delete BEFORE DELETE ON deed
BEGIN SELECT raise(ABORT, 'audit records are never deleted'); END;
CREATE TRIGGER deed_again BEFORE INSERT ON deed WHEN EXISTS (SELECT 1 FROM deed d WHERE d.id = new.id)
BEGIN SELECT raise(ABORT, 'UNIQUE constraint failed: an audit record is never replaced'); END
"""
POSTGRESQL = """
CREATE TRIGGER deed_change BEFORE UPDATE OR DELETE ON deed FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();;
CREATE TRIGGER deed_truncate BEFORE TRUNCATE ON deed EXECUTE FUNCTION refuse_audit_change()
"""


def upgrade() -> None:
    bind = op.get_bind()
    for statement in TABLES.format(**KINDS[bind.dialect.name]).split(";"):
        bind.exec_driver_sql(statement.strip())
    sqlite = bind.dialect.name == "sqlite"
    for statement in SQLITE.strip().split("END;\n") if sqlite else POSTGRESQL.split(";;"):
        text = statement.strip()
        bind.exec_driver_sql(text if not sqlite or text.endswith("END") else f"{text} END")
