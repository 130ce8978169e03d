"""What two watermarks, chains, clones, requests for records and backups need."""

from alembic import op

from sync import failpoint

revision = "0003"
down_revision = "0002"

COLUMNS = """
gateway identity TEXT DEFAULT 'ok' NOT NULL
gateway box TEXT DEFAULT '' NOT NULL
gateway public_key TEXT DEFAULT '' NOT NULL
gateway resumes {big} DEFAULT '0' NOT NULL
incarnation box TEXT DEFAULT '' NOT NULL
incarnation public_key TEXT DEFAULT '' NOT NULL
incarnation software TEXT DEFAULT '' NOT NULL
incarnation heard_ms {big}
incarnation appeared {big} DEFAULT '0' NOT NULL
incarnation resumed {big} DEFAULT '0' NOT NULL
incarnation discarded BOOLEAN DEFAULT {false} NOT NULL
incarnation suspect_ms {big}
incarnation unset_step {big}
ingest_stream safe {big} DEFAULT '0' NOT NULL
ingest_stream corrected {big} DEFAULT '0' NOT NULL
ingest_stream link {blob}
ingest_stream link_seq {big} DEFAULT '0' NOT NULL
ingest_stream witness_seq {big} DEFAULT '0' NOT NULL
ingest_stream witness_ms {big} DEFAULT '0' NOT NULL
ingest_chunk before {blob}
ingest_chunk link {blob}
ingest_chunk signature {blob}
ingest_chunk clock_sync TEXT
ingest_chunk uptime {big}
ingest_chunk clock_offset_ms {big}
ingest_chunk body {blob}
"""

TABLES = """
CREATE TABLE witness (
  inc {big} NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, tenant TEXT NOT NULL, link {blob} NOT NULL,
  at {big} NOT NULL, signature {blob} NOT NULL, PRIMARY KEY (inc, stream, seq)
);
CREATE TABLE chain_finding (
  id {serial} NOT NULL, tenant TEXT NOT NULL, inc {big} NOT NULL, stream SMALLINT NOT NULL, first {big} NOT NULL,
  why TEXT NOT NULL, recorded_ms {big} NOT NULL, PRIMARY KEY (id), UNIQUE (inc, stream, first, why)
);
CREATE TABLE wanted (
  id {serial} NOT NULL, tenant TEXT NOT NULL, inc {big} NOT NULL, stream SMALLINT NOT NULL, first {big} NOT NULL,
  last {big} NOT NULL, asked_ms {big} NOT NULL, asked_by TEXT DEFAULT '' NOT NULL, sent_ms {big}, done_ms {big},
  answered TEXT DEFAULT '[]' NOT NULL, PRIMARY KEY (id), FOREIGN KEY(inc) REFERENCES incarnation (id)
);
CREATE TABLE gateway_event (
  id {serial} NOT NULL, tenant TEXT NOT NULL, gateway {big} NOT NULL, at_ms {big} NOT NULL, kind TEXT NOT NULL,
  detail TEXT NOT NULL, PRIMARY KEY (id), FOREIGN KEY(gateway) REFERENCES gateway (id)
);
CREATE TABLE backup (
  id {serial} NOT NULL, made_ms {big} NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL, bytes {big} NOT NULL,
  recorded_ms {big} NOT NULL, PRIMARY KEY (id), UNIQUE (digest)
)
"""

KINDS = {
    "sqlite": {"big": "INTEGER", "serial": "INTEGER", "blob": "BLOB", "false": "0"},
    "postgresql": {"big": "BIGINT", "serial": "BIGSERIAL", "blob": "BYTEA", "false": "false"},
}


def upgrade() -> None:
    bind = op.get_bind()
    kinds = KINDS[bind.dialect.name]
    for line in COLUMNS.format(**kinds).strip().splitlines():
        table, column = line.split(" ", 1)
        bind.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
    failpoint.reach("cloud.migration")
    for statement in TABLES.format(**kinds).split(";"):
        bind.exec_driver_sql(statement.strip())
    # Watermarks of before were told as safe, so gateways have forgotten up to there.
    bind.exec_driver_sql("UPDATE ingest_stream SET safe = stored")
