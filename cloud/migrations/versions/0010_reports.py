"""Reports and when they are due, letters to people, watches over figures, and what people say about alerts."""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = """
CREATE TABLE report (
  id {serial} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, kind TEXT NOT NULL, business_date TEXT NOT NULL,
  shift TEXT NOT NULL, language TEXT NOT NULL, version {big} NOT NULL, schedule TEXT NOT NULL, start_ms {big} NOT NULL,
  end_ms {big} NOT NULL, as_of_ms {big} NOT NULL, made_ms {big} NOT NULL, made_by TEXT NOT NULL, digest TEXT NOT NULL,
  restated {big} NOT NULL, figures {blob} NOT NULL, PRIMARY KEY (id),
  UNIQUE (tenant, site, kind, business_date, shift, language, version)
);
CREATE INDEX report_by_time ON report (tenant, made_ms);
CREATE TABLE report_file (
  report {big} NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL, media TEXT NOT NULL, bytes {big} NOT NULL,
  made_ms {big} NOT NULL, body {blob} NOT NULL, PRIMARY KEY (report, name), FOREIGN KEY(report) REFERENCES report (id)
);
CREATE INDEX report_file_by_time ON report_file (made_ms);
CREATE TABLE report_due (
  tenant TEXT NOT NULL, site TEXT NOT NULL, schedule TEXT NOT NULL, business_date TEXT NOT NULL, shift TEXT NOT NULL,
  due_ms {big} NOT NULL, state TEXT NOT NULL, holder TEXT NOT NULL, until_ms {big} NOT NULL, attempts {big} NOT NULL,
  why TEXT NOT NULL, report {big}, ended_ms {big}, PRIMARY KEY (tenant, site, schedule, business_date, shift)
);
CREATE INDEX report_due_by_time ON report_due (tenant, due_ms);
CREATE TABLE outgoing (
  id {serial} NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, channel TEXT NOT NULL, cause TEXT NOT NULL,
  language TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL, html TEXT NOT NULL, queued_ms {big} NOT NULL,
  next_ms {big} NOT NULL, attempts {big} NOT NULL, holder TEXT NOT NULL, until_ms {big} NOT NULL, ended_ms {big},
  PRIMARY KEY (id), UNIQUE (tenant, name)
);
CREATE INDEX outgoing_by_next ON outgoing (ended_ms, next_ms);
CREATE INDEX outgoing_by_time ON outgoing (tenant, queued_ms);
CREATE TABLE outgoing_reader (
  letter {big} NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL, said TEXT NOT NULL, ended_ms {big},
  PRIMARY KEY (letter, address), FOREIGN KEY(letter) REFERENCES outgoing (id)
);
CREATE TABLE outgoing_file (
  letter {big} NOT NULL, name TEXT NOT NULL, media TEXT NOT NULL, body {blob} NOT NULL,
  PRIMARY KEY (letter, name), FOREIGN KEY(letter) REFERENCES outgoing (id)
);
CREATE TABLE watch (
  id {serial} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, name TEXT NOT NULL,
  metric TEXT NOT NULL, period TEXT NOT NULL, against TEXT NOT NULL, side TEXT NOT NULL, level {double},
  margin {double} NOT NULL, for_s {big} NOT NULL, min_pieces {big} NOT NULL, min_minutes {big} NOT NULL,
  in_shift {big} NOT NULL, severity TEXT NOT NULL, readers TEXT NOT NULL, language TEXT NOT NULL,
  enabled {big} NOT NULL, silent_until_ms {big} NOT NULL, changed_ms {big} NOT NULL, changed_by TEXT NOT NULL,
  removed_ms {big}, PRIMARY KEY (id)
);
CREATE INDEX watch_by_tenant ON watch (tenant, removed_ms);
CREATE TABLE watch_state (
  watch {big} NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL, since_ms {big} NOT NULL, looked_ms {big} NOT NULL,
  memory TEXT NOT NULL, value {double}, level {double}, reason TEXT,
  PRIMARY KEY (watch), FOREIGN KEY(watch) REFERENCES watch (id)
);
CREATE TABLE told (
  tenant TEXT NOT NULL, readers TEXT NOT NULL, told_ms {big} NOT NULL, kept_back {big} NOT NULL,
  PRIMARY KEY (tenant, readers)
);
ALTER TABLE alert ADD COLUMN work_unit TEXT DEFAULT '' NOT NULL;
ALTER TABLE alert ADD COLUMN subject TEXT DEFAULT '' NOT NULL;
ALTER TABLE alert ADD COLUMN readers TEXT DEFAULT '' NOT NULL;
ALTER TABLE alert ADD COLUMN language TEXT DEFAULT '' NOT NULL;
ALTER TABLE alert ADD COLUMN acked_ms {big};
ALTER TABLE alert ADD COLUMN acked_by TEXT DEFAULT '' NOT NULL;
ALTER TABLE alert ADD COLUMN note TEXT DEFAULT '' NOT NULL;
ALTER TABLE alert ADD COLUMN silent_until_ms {big} DEFAULT '0' NOT NULL;
ALTER TABLE alert ADD COLUMN told_ms {big};
ALTER TABLE alert ADD COLUMN tellings {big} DEFAULT '0' NOT NULL;
ALTER TABLE alert ADD COLUMN end_told_ms {big};
CREATE INDEX alert_by_subject ON alert (tenant, kind, subject, raised_ms);
CREATE INDEX alert_by_telling ON alert (tenant, end_told_ms, cleared_ms);
UPDATE alert SET told_ms = raised_ms, end_told_ms = cleared_ms WHERE cleared_ms IS NOT NULL
"""
KINDS = {
    "sqlite": {"big": "INTEGER", "serial": "INTEGER", "blob": "BLOB", "double": "DOUBLE"},
    "postgresql": {"big": "BIGINT", "serial": "BIGSERIAL", "blob": "BYTEA", "double": "DOUBLE PRECISION"},
}


def upgrade() -> None:
    bind = op.get_bind()
    for statement in TABLES.format(**KINDS[bind.dialect.name]).split(";"):
        bind.exec_driver_sql(statement.strip())
