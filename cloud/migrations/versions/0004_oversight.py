"""Hours, alerts, and an audit log that can be searched and never changed: triggers refuse it, whoever asks."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE tally (
  gateway {big} NOT NULL, inc TEXT NOT NULL, stream SMALLINT NOT NULL, first {big} NOT NULL, tenant TEXT NOT NULL,
  last {big} NOT NULL, start {big} NOT NULL, end_at {big} NOT NULL,
  PRIMARY KEY (gateway, inc, stream, first), FOREIGN KEY(gateway) REFERENCES gateway (id)
);
CREATE TABLE audit_entry (
  inc {big} NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
  gateway TEXT NOT NULL, at {big} NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL,
  words TEXT NOT NULL, PRIMARY KEY (inc, stream, seq)
);
CREATE TABLE alert (
  id {serial} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, gateway TEXT NOT NULL, kind TEXT NOT NULL,
  severity TEXT NOT NULL, detail TEXT NOT NULL, raised_ms {big} NOT NULL, cleared_ms {big}, PRIMARY KEY (id)
);
CREATE INDEX tally_by_time ON tally (tenant, start);
CREATE INDEX audit_entry_by_time ON audit_entry (tenant, at);
CREATE INDEX alert_by_time ON alert (tenant, raised_ms);
CREATE INDEX alert_by_gateway ON alert (tenant, site, gateway, kind, cleared_ms);
CREATE INDEX loss_by_time ON loss (tenant, recorded_ms)
"""
KINDS = {"sqlite": {"big": "INTEGER", "serial": "INTEGER"}, "postgresql": {"big": "BIGINT", "serial": "BIGSERIAL"}}

# REPLACE deletes the old row without asking a trigger for DELETE, so a second INSERT is refused by itself.
SQLITE = """
CREATE TRIGGER fact_audit_update BEFORE UPDATE ON fact WHEN old.kind = 'audit' OR new.kind = 'audit'
BEGIN SELECT raise(ABORT, 'audit records are never changed'); END;
CREATE TRIGGER fact_audit_delete BEFORE DELETE ON fact WHEN old.kind = 'audit'
BEGIN SELECT raise(ABORT, 'audit records are never deleted'); END;
CREATE TRIGGER fact_audit_again BEFORE INSERT ON fact WHEN new.stream = 1
AND EXISTS (SELECT 1 FROM fact f WHERE f.inc = new.inc AND f.stream = new.stream AND f.seq = new.seq)
BEGIN SELECT raise(ABORT, 'UNIQUE constraint failed: an audit record is never replaced'); END;
CREATE TRIGGER audit_entry_update BEFORE UPDATE ON audit_entry
BEGIN SELECT raise(ABORT, 'audit records are never changed'); END;
CREATE TRIGGER audit_entry_delete BEFORE DELETE ON audit_entry
BEGIN SELECT raise(ABORT, 'audit records are never deleted'); END;
CREATE TRIGGER audit_entry_again BEFORE INSERT ON audit_entry
WHEN EXISTS (SELECT 1 FROM audit_entry e WHERE e.inc = new.inc AND e.stream = new.stream AND e.seq = new.seq)
BEGIN SELECT raise(ABORT, 'UNIQUE constraint failed: an audit record is never replaced'); END
"""
POSTGRESQL = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit records are never changed or deleted' USING ERRCODE = 'integrity_constraint_violation'; END $$;;
CREATE TRIGGER fact_audit_update BEFORE UPDATE ON fact FOR EACH ROW
WHEN (old.kind = 'audit' OR new.kind = 'audit') EXECUTE FUNCTION refuse_audit_change();;
CREATE TRIGGER fact_audit_delete BEFORE DELETE ON fact FOR EACH ROW
WHEN (old.kind = 'audit') EXECUTE FUNCTION refuse_audit_change();;
CREATE TRIGGER fact_audit_truncate BEFORE TRUNCATE ON fact EXECUTE FUNCTION refuse_audit_change();;
CREATE TRIGGER audit_entry_change BEFORE UPDATE OR DELETE ON audit_entry FOR EACH ROW
EXECUTE FUNCTION refuse_audit_change();;
CREATE TRIGGER audit_entry_truncate BEFORE TRUNCATE ON audit_entry EXECUTE FUNCTION refuse_audit_change()
"""


def upgrade() -> None:
    bind = op.get_bind()
    for statement in TABLES.format(**KINDS[bind.dialect.name]).split(";"):
        bind.exec_driver_sql(statement.strip())
    _index_what_is_there(bind)
    sqlite = bind.dialect.name == "sqlite"
    for statement in SQLITE.strip().split("END;\n") if sqlite else POSTGRESQL.split(";;"):
        text = statement.strip()
        bind.exec_driver_sql(text if not sqlite or text.endswith("END") else f"{text} END")


def _index_what_is_there(bind: sa.Connection) -> None:
    rows = bind.exec_driver_sql(
        "SELECT f.inc, f.stream, f.seq, f.tenant, g.site, g.name, f.at, f.body FROM fact f"
        " JOIN incarnation i ON i.id = f.inc JOIN gateway g ON g.id = i.gateway WHERE f.kind = 'audit'"
    )
    insert = sa.text("INSERT INTO audit_entry VALUES (:inc, :stream, :seq, :tenant, :site, :gateway, :at, :actor, :action, :target, :words)")  # fmt: skip
    names = ("inc", "stream", "seq", "tenant", "site", "gateway", "at")
    for part in rows.partitions(1_000):
        bind.execute(insert, [dict(zip(names, row[:-1], strict=True)) | _spelled(row[-1]) for row in part])


def _spelled(body: str) -> dict[str, str]:
    """Give the columns that repeat the record, as `sync.testimony` spelled them when this schema was made."""
    said: dict[str, Any] = json.loads(body)
    parts = [str(said.get(name, "")) for name in ("actor", "action", "target")]
    found = [part.replace("\0", "\ufffd") for part in parts]
    detail = said.get("detail", {})
    words = " ".join([*parts, json.dumps(detail, ensure_ascii=False, sort_keys=True) if detail else ""]).lower()
    return {"actor": found[0], "action": found[1], "target": found[2], "words": words.replace("\0", "\ufffd")}
