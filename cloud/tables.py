"""Every table of the cloud, once, for SQLite and PostgreSQL alike.

Identity of a record is (inc, stream, seq): `inc` is the row of the gateway's incarnation. Readings stand in `reading`,
all other records in `fact` as they came; nothing stands in both. `equipment_state`, `production`, `judgment`, … hold
the columns that queries need of a fact, under the fact's own key. What begins with `mart_` is computed from those and
can be thrown away. Times are ns since 1970 UTC (`at`, `start`) as in the facts, or ms where the name says so.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64 bits; SQLite's INTEGER has them, and only under that name can it be the row's own number."""


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.Text, nullable=False)


def _int(name: str, default: int | None = None) -> sa.Column[int]:
    if default is None:
        return sa.Column(name, Big, nullable=False)
    return sa.Column(name, Big, nullable=False, server_default=str(default))


def _maybe(name: str) -> sa.Column[int]:
    return sa.Column(name, Big)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _words(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text)


def _record() -> list[sa.Column[int]]:
    """Give the key of a record: what makes a fact that fact."""
    return [
        sa.Column("inc", Big, primary_key=True, autoincrement=False),
        sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", Big, primary_key=True, autoincrement=False),
    ]


def _place(*, key: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False, primary_key=key) for name in ("tenant", "site", "work_unit")]


# --- gateways and how far we are with them ---

gateway = sa.Table(
    "gateway",
    metadata,
    sa.Column("id", Big, primary_key=True),
    _tenant(),
    _text("site"),
    _text("name"),
    _maybe("last_seen_ms"),
    _maybe("gone_ms"),
    _text("software", ""),
    _maybe("clock_offset_ms"),
    _int("waiting", 0),
    _int("waiting_bytes", 0),
    _maybe("oldest_at"),
    _maybe("disk_free_bytes"),
    sa.Column("autonomy_hours", sa.Double),
    _maybe("data_at"),
    _text("sources", "{}"),
    _text("holdings", "[]"),
    _maybe("holdings_ms"),
    _int("conflicts", 0),
    sa.UniqueConstraint("tenant", "site", "name"),
)

incarnation = sa.Table(
    "incarnation",
    metadata,
    sa.Column("id", Big, primary_key=True),
    _tenant(),
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), nullable=False),
    _text("inc"),
    _int("ord", 0),
    _text("previous", ""),
    sa.Column("closed", sa.Boolean, nullable=False, server_default=sa.false()),
    _int("first_seen_ms"),
    sa.UniqueConstraint("gateway", "inc"),
)

ingest_stream = sa.Table(
    "ingest_stream",
    metadata,
    sa.Column("inc", Big, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    _tenant(),
    _int("stored", 0),  # contiguous: everything up to here is a row or a declared loss
    _int("last", 0),  # highest sequence number we ever heard of
    _int("rows", 0),  # records of this stream that are rows
)

ingest_chunk = sa.Table(
    "ingest_chunk",
    metadata,
    sa.Column("inc", Big, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("first", Big, primary_key=True, autoincrement=False),
    _tenant(),
    _int("count"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    _int("stored_ms"),
    sqlite_with_rowid=False,
)

loss = sa.Table(
    "loss",
    metadata,
    sa.Column("inc", Big, primary_key=True, autoincrement=False),
    sa.Column("stream", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("first", Big, primary_key=True, autoincrement=False),
    _tenant(),
    _int("last"),
    _text("reason"),
    _int("t0", 0),
    _int("t1", 0),
    _text("declared_by"),  # gateway or cloud
    _int("recorded_ms"),
)

conflict = sa.Table(
    "conflict",
    metadata,
    sa.Column("id", Big, primary_key=True),
    _tenant(),
    _int("inc"),
    sa.Column("stream", sa.SmallInteger, nullable=False),
    _int("first"),
    _int("count"),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    _text("why"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _int("recorded_ms"),
    sa.UniqueConstraint("inc", "stream", "first", "digest"),
)

dead_letter = sa.Table(
    "dead_letter",
    metadata,
    sa.Column("id", Big, primary_key=True),
    _tenant(),
    _int("inc"),
    sa.Column("stream", sa.SmallInteger, nullable=False),
    _int("first"),
    _int("count"),
    _text("why"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _int("recorded_ms"),
    sa.UniqueConstraint("inc", "stream", "first"),
)

# --- records ---

tag = sa.Table(
    "tag",
    metadata,
    sa.Column("id", Big, primary_key=True),
    _tenant(),
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), nullable=False),
    _text("name"),
    _text("work_unit"),
    _words("unit"),
    _text("role"),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.UniqueConstraint("gateway", "name"),
)

dictionary = sa.Table(
    "dictionary",
    metadata,
    sa.Column("gateway", Big, sa.ForeignKey("gateway.id"), primary_key=True, autoincrement=False),
    sa.Column("version", sa.Text, primary_key=True),
    _tenant(),
    _text("tags"),  # JSON: our tag numbers in the gateway's order
)

reading = sa.Table(
    "reading",
    metadata,
    *_record(),
    _tenant(),
    _int("tag"),
    _int("source_time"),
    _maybe("server_time"),  # only where it differs from source_time
    sa.Column("value", sa.Double),
    _words("other"),  # JSON of a value that is no float64
    _int("status", 0),
    sqlite_with_rowid=False,
)

fact = sa.Table(
    "fact",
    metadata,
    *_record(),
    _tenant(),
    _text("kind"),
    _text("work_unit"),
    _int("at"),
    _text("body"),
    sa.Index("fact_by_time", "tenant", "at"),
    sqlite_with_rowid=False,
)

# --- columns of facts ---

_MADE = ("job_order", "product", "lot")

equipment_state = sa.Table(
    "equipment_state",
    metadata,
    *_record(),
    *_place(),
    _int("at"),
    _text("state"),
    _words("reason"),
    _int("status"),
    *[_words(name) for name in _MADE],
    sa.Index("equipment_state_by_time", "tenant", "site", "work_unit", "at"),
)

production = sa.Table(
    "production",
    metadata,
    *_record(),
    *_place(),
    _int("start"),
    _int("at"),
    _int("counted_ms"),  # the ms in whose shift and hour these pieces count: the last of [start, at)
    *[_int(name) for name in ("produced", "good", "scrap", "rework")],
    _maybe("ideal_us"),  # produced x ideal cycle; null when the cycle is not known
    _maybe("ideal_good_us"),
    _int("energy_wh", 0),
    *[_words(name) for name in _MADE],
    sa.Index("production_by_time", "tenant", "site", "work_unit", "counted_ms"),
)

production_defect = sa.Table(
    "production_defect",
    metadata,
    *_record(),
    sa.Column("defect", sa.Text, primary_key=True),
    *_place(),
    _int("counted_ms"),
    _words("product"),
    _int("quantity"),
    sa.Index("production_defect_by_time", "tenant", "site", "work_unit", "counted_ms"),
)

judgment = sa.Table(
    "judgment",
    metadata,
    *_record(),
    *_place(),
    _text("verdict_id"),
    _int("start"),
    _int("at"),
    _text("decision"),
    _text("severity"),
    sa.Column("confidence", sa.Double, nullable=False),
    _text("ruleset"),
    _text("summary"),
    *[_words(name) for name in _MADE],
    sa.Index("judgment_by_time", "tenant", "at"),
    sa.Index("judgment_by_line", "tenant", "site", "work_unit", "at"),
    sa.Index("judgment_by_verdict", "tenant", "verdict_id"),
)

alarm_change = sa.Table(
    "alarm_change",
    metadata,
    *_record(),
    *_place(),
    _int("at"),
    _text("alarm"),
    sa.Column("active", sa.Boolean, nullable=False),
    _text("severity"),
    _text("summary"),
    _words("verdict_id"),
    sa.Index("alarm_change_by_time", "tenant", "at"),
)

gap = sa.Table(
    "gap",
    metadata,
    *_record(),
    *_place(),
    _int("start"),
    _int("at"),
    _text("source"),
    _int("tags"),
    _text("reason"),
    sa.Index("gap_by_time", "tenant", "site", "work_unit", "at"),
)

# --- what holds now: the newest fact wins, whatever order they come in ---

work_unit = sa.Table(
    "work_unit",
    metadata,
    *_place(key=True),
    sa.Column("gateway", Big, nullable=False),
    _maybe("data_at"),  # newest good source time or fact of this line
    _int("state_at", 0),
    _text("state", "UNDEFINED"),
    _words("reason"),
    _int("context_at", 0),
    *[_words(name) for name in _MADE],
    sa.Column("context_stale", sa.Boolean, nullable=False, server_default=sa.false()),
    _int("verdict_at", 0),
    _words("verdict_id"),
    _words("decision"),
    _words("severity"),
    sa.Column("confidence", sa.Double),
    _words("summary"),
)

alarm = sa.Table(
    "alarm",
    metadata,
    *_place(key=True),
    sa.Column("alarm", sa.Text, primary_key=True),
    _int("changed_at"),
    sa.Column("active", sa.Boolean, nullable=False),
    _text("severity"),
    _text("summary"),
    _words("verdict_id"),
)

job_order = sa.Table(
    "job_order",
    metadata,
    *_place(key=True),
    sa.Column("job_order", sa.Text, primary_key=True),
    _int("changed_at"),
    _text("product"),
    _words("lot"),
    _int("quantity"),
    _int("start"),
    _int("end_at"),
    _text("state"),
    sa.Column("ideal_cycle_ms", sa.Double),
    sa.Index("job_order_by_time", "tenant", "site", "work_unit", "start"),
)

product = sa.Table(
    "product",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("product", sa.Text, primary_key=True),
    _int("changed_at"),
    _text("name"),
    _text("ideal_cycle_ms"),
)

inventory = sa.Table(
    "inventory",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("material", sa.Text, primary_key=True),
    sa.Column("location", sa.Text, primary_key=True),
    sa.Column("at", Big, primary_key=True, autoincrement=False),
    sa.Column("quantity", sa.Double, nullable=False),
    _text("unit"),
    sa.Column("daily_usage", sa.Double),
)

# --- marts ---

tag_minute = sa.Table(
    "tag_minute",
    metadata,
    sa.Column("minute", Big, primary_key=True, autoincrement=False),  # minutes since 1970 UTC
    sa.Column("tag", Big, primary_key=True, autoincrement=False),
    _tenant(),
    _int("good"),
    _int("bad"),
    sa.Column("total", sa.Double, nullable=False),  # sum of good values
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sqlite_with_rowid=False,
)

dirty_bucket = sa.Table(
    "dirty_bucket",
    metadata,
    *_place(key=True),
    sa.Column("mart", sa.Text, primary_key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    _int("gen"),
    _int("due_ms"),
    sa.Index("dirty_bucket_by_due", "due_ms"),
)

MEASURES = (
    *("calendar_ms", "scheduled_ms", "apt_ms", "setup_ms", "delay_ms", "down_ms", "planned_down_ms", "unknown_ms"),
    *("produced", "good", "scrap", "rework", "unrated", "ideal_us", "ideal_good_us", "energy_wh"),
    *("judgments", "warnings", "criticals", "unknowns"),
)
"""All additive. Closure: apt + setup + delay + down + unknown + planned_down = accounted part of scheduled."""

mart_shift = sa.Table(
    "mart_shift",
    metadata,
    *_place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, primary_key=True),
    _int("end_ms"),
    _text("business_date"),
    _text("shift"),  # empty outside every shift
    *[_int(name) for name in MEASURES],
    sa.Index("mart_shift_by_date", "tenant", "business_date"),
)

mart_stop = sa.Table(
    "mart_stop",
    metadata,
    *_place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("element", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),  # stop reason, else the state's name
    _int("duration_ms"),
    _int("stops"),
)

mart_defect = sa.Table(
    "mart_defect",
    metadata,
    *_place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, primary_key=True),
    sa.Column("defect", sa.Text, primary_key=True),
    _int("quantity"),
)

mart_hour = sa.Table(
    "mart_hour",
    metadata,
    *_place(key=True),
    sa.Column("start_ms", Big, primary_key=True, autoincrement=False),
    sa.Column("product", sa.Text, primary_key=True),
    *[_int(name) for name in ("produced", "good", "scrap", "rework")],
)

mart_version = sa.Table(
    "mart_version",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("mart", sa.Text, primary_key=True),
    _int("version"),
    _int("refreshed_ms"),
)
