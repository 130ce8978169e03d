"""Every table of the cloud, once, for SQLite and PostgreSQL alike.

Identity of a record is (inc, stream, seq): `inc` is the row of the gateway's incarnation. Readings stand in `reading`,
all other records in `fact` as they came; nothing stands in both. `equipment_state`, `production`, `judgment`, … hold
the columns that queries need of a fact, under the fact's own key. What begins with `mart_` is computed from those and
can be thrown away. Times are ns since 1970 UTC (`at`, `start`) as in the facts, or ms where the name says so.
"""

from cloud.tables.columns import metadata
from cloud.tables.commands import command
from cloud.tables.ledger import (
    backup,
    chain_finding,
    conflict,
    dead_letter,
    gateway,
    gateway_event,
    incarnation,
    ingest_chunk,
    ingest_stream,
    loss,
    wanted,
    witness,
)
from cloud.tables.marts import (
    MEASURES,
    dirty_bucket,
    mart_defect,
    mart_hour,
    mart_shift,
    mart_stop,
    mart_version,
    tag_minute,
)
from cloud.tables.outgoing import outgoing, outgoing_file, outgoing_reader
from cloud.tables.oversight import alert, audit_entry, tally
from cloud.tables.packages import offer
from cloud.tables.pins import pin
from cloud.tables.present import alarm, inventory, job_order, product, work_unit
from cloud.tables.records import (
    alarm_change,
    dictionary,
    equipment_state,
    fact,
    fact_subject,
    gap,
    judgment,
    production,
    production_defect,
    reading,
    tag,
)
from cloud.tables.reports import report, report_due, report_file
from cloud.tables.watches import told, watch, watch_state

__all__ = [
    "MEASURES",
    "alarm",
    "alarm_change",
    "alert",
    "audit_entry",
    "backup",
    "chain_finding",
    "command",
    "conflict",
    "dead_letter",
    "dictionary",
    "dirty_bucket",
    "equipment_state",
    "fact",
    "fact_subject",
    "gap",
    "gateway",
    "gateway_event",
    "incarnation",
    "ingest_chunk",
    "ingest_stream",
    "inventory",
    "job_order",
    "judgment",
    "loss",
    "mart_defect",
    "mart_hour",
    "mart_shift",
    "mart_stop",
    "mart_version",
    "metadata",
    "offer",
    "outgoing",
    "outgoing_file",
    "outgoing_reader",
    "pin",
    "product",
    "production",
    "production_defect",
    "reading",
    "report",
    "report_due",
    "report_file",
    "tag",
    "tag_minute",
    "tally",
    "told",
    "wanted",
    "watch",
    "watch_state",
    "witness",
    "work_unit",
]
