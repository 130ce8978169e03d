"""From facts to the columns that queries need, and to what holds now; collected over one transaction, then written.

A fact that cannot be projected (no line named, a path that is none) is still kept whole in `fact`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from cloud.database import Connection
from cloud.ingest import operations, planned
from cloud.ingest.operations import Key, plain, written
from cloud.marts import over, products
from cloud.marts.ledger import Ledger
from cloud.packages import offers
from cloud.plant import Place
from cloud.remote import commands
from sync import facts as f
from sync.equipment import equipment
from sync.judgment import (
    ActionDecided,
    ActionEnded,
    ApprovalAnswered,
    CcpRecorded,
    CommandAnswered,
    DriftMeasured,
    FeedbackGiven,
    ModeChanged,
    ModelChanged,
    RulesetActivated,
    TrustChanged,
)
from sync.testimony import columns_of

NS: Final = 1_000_000
FUTURE_NS: Final = 300 * 1_000_000_000
"""A machine's clock may be this far ahead before its times stop counting as "newest data"."""

EARLIEST_NS: Final = 946_684_800 * 1_000_000_000
LATEST_NS: Final = 4_102_444_800 * 1_000_000_000
"""2000 to 2100: a fact with a time outside is kept and takes no part in any figure."""


@lru_cache(maxsize=10_000)
def is_line(path: str) -> bool:
    """Tell whether a fact's work unit is an ISA-95 path."""
    try:
        equipment(path)
    except ValueError:
        return False
    return True


def _lanes(fact: f.Tallied) -> list[tuple[str, tuple[int, int]]]:
    """Give the ranges of a tally that can be: a gateway's bug shall not stop its other facts."""
    named = [(n, span) for n, span in fact.lanes.items() if n.isdecimal() and 1 <= int(n) <= 255]
    return [(n, (first, last)) for n, (first, last) in named if 1 <= first <= last < 2**62 and len(fact.inc) == 32]


class Projection:
    """What one transaction's facts come to."""

    def __init__(self, ledger: Ledger, now_ns: int) -> None:
        self._ledger = ledger
        self._now_ms = now_ns // NS
        self._newest_allowed = now_ns + FUTURE_NS
        self.hears = True
        """Whether what is added is news of its line. What was put right is not: nobody was there again."""
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._data_at: dict[Place, tuple[int, int]] = {}
        """Line → (newest data in ns, gateway)."""
        self._first: dict[Place, int] = {}
        """Line → its earliest state or pieces (ms); what is too old when it comes makes no line older."""
        self._state: dict[Place, tuple[Any, ...]] = {}
        self._context: dict[Place, tuple[Any, ...]] = {}
        self._verdict: dict[Place, tuple[Any, ...]] = {}
        self._alarm: dict[tuple[Place, str], tuple[Any, ...]] = {}
        self._order: dict[tuple[Place, str], tuple[Any, ...]] = {}
        self._product: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        self._lot: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        self._state_times: dict[Place, list[int]] = {}
        self._audited: list[tuple[Any, ...]] = []
        self._offers: list[tuple[Any, ...]] = []
        self._commands: list[tuple[Any, ...]] = []

    def data(self, place: Place, at: int, gateway: int) -> None:
        """Note that good data of this time was seen."""
        if self.hears and at <= self._newest_allowed and at > self._data_at.get(place, (0, 0))[0]:
            self._data_at[place] = (at, gateway)

    def _began(self, place: Place, ms: int) -> None:
        if self._now_ms - over.OLDEST_MS <= ms < self._first.get(place, LATEST_NS):
            self._first[place] = ms

    def add(self, key: Key, tenant: str, site: str, gateway: int, fact: f.Fact) -> None:
        """Take one fact in."""
        if isinstance(fact, f.Audited):  # whatever its date: nothing of the log is left out
            said = columns_of(msgspec.to_builtins(fact))
            columns = tuple(said[name] for name in ("actor", "action", "target", "words"))
            self._audited.append((*key, tenant, site, fact.at, *columns, gateway))
            if (outcome := offers.outcome(fact)) is not None:
                self._offers.append((*outcome, tenant, site, gateway))
            return
        if isinstance(fact, CommandAnswered):  # whatever its date, too
            self._commands.append((*commands.outcome(fact), tenant, site, gateway))
            return
        if not (EARLIEST_NS <= fact.at < LATEST_NS and EARLIEST_NS <= getattr(fact, "start", fact.at) < LATEST_NS):
            return
        if (about := _about(fact)) is not None:
            subject, lot = about
            row = (*key, tenant, site, fact.work_unit, gateway, _kind(fact), plain(subject), fact.at, plain(lot))
            self._rows.setdefault("fact_subject", []).append(row)
            return
        if type(fact) in _OPERATIONS:
            self._add_operations(key, tenant, site, fact)
            return
        if isinstance(fact, f.Tallied):
            rows = [(gateway, fact.inc, int(n), *span, tenant, fact.start, fact.at) for n, span in _lanes(fact)]
            self._rows.setdefault("tally", []).extend(rows)
            return
        if not is_line(fact.work_unit):
            return
        place: Place = (tenant, site, fact.work_unit)
        self._data_at.setdefault(place, (0, gateway))
        match fact:
            case f.StateChanged():
                self._add_state(key, place, gateway, fact)
            case f.Produced():
                self._add_production(key, place, gateway, fact)
            case f.Judged():
                self._add_verdict(key, place, fact)
            case f.AlarmChanged():
                self._add_alarm(key, place, fact)
            case f.Gap():
                row = (*key, *place, fact.start, fact.at, fact.source, fact.tags, fact.reason)
                self._rows.setdefault("gap", []).append(row)
                self._ledger.span(place, fact.start // NS, fact.at // NS)
            case f.JobOrderPlanned():
                known = self._order.get((place, fact.order))
                if known is None or known[4] <= fact.at:
                    self._order[place, fact.order] = planned.row(place, fact)
            case f.JobResponded():
                self._rows.setdefault("job_response", []).append(operations.response(key, place, fact))
            case _:
                pass

    def _add_operations(self, key: Key, tenant: str, site: str, fact: f.Fact) -> None:
        """Take in what is told of no line, or need not be."""
        match fact:
            case f.ProductDefined():
                defined = operations.definition(key, tenant, site, fact, self._now_ms)
                self._rows.setdefault("product_definition", []).append(defined)
                known = self._product.get((tenant, site, fact.product))
                if known is None or known[3] <= fact.at:
                    row = (tenant, site, fact.product, fact.at, written(fact.name), written(fact.ideal_cycle_ms))
                    self._product[tenant, site, fact.product] = row
            case f.InventoryCounted():
                self._rows.setdefault("inventory", []).append(operations.stock(key, tenant, site, fact))
                self._ledger.touch_stock(tenant, site, fact.at // NS)
            case f.LotDefined():
                known = self._lot.get((tenant, site, fact.lot))
                if known is None or known[-1] <= fact.at:
                    self._lot[tenant, site, fact.lot] = operations.lot(tenant, site, fact)
            case f.QualityMeasured():
                if fact.work_unit and not is_line(fact.work_unit):
                    return
                place: Place = (tenant, site, fact.work_unit)
                self._rows.setdefault("quality_measurement", []).append(operations.quality(key, place, fact))
                self._ledger.touch_quality(place, fact.at // NS)
            case _:
                pass

    def _add_state(self, key: Key, place: Place, gateway: int, fact: f.StateChanged) -> None:
        made = (fact.context.order, fact.context.product, fact.context.lot)
        row = (*key, *place, fact.at, fact.state, fact.reason, fact.status, *made)
        self._rows.setdefault("equipment_state", []).append(row)
        self._state_times.setdefault(place, []).append(fact.at)
        self._began(place, fact.at // NS)
        if place not in self._state or self._state[place][0] <= fact.at:
            self._state[place] = (fact.at, fact.state, fact.reason)
        self._add_context(place, fact.at, fact.context)
        if fact.status >> 30 == 0:
            self.data(place, fact.at, gateway)

    def _add_context(self, place: Place, at: int, context: f.Context) -> None:
        if place not in self._context or self._context[place][0] <= at:
            self._context[place] = (at, context.order, context.product, context.lot, context.stale)

    def _add_production(self, key: Key, place: Place, gateway: int, fact: f.Produced) -> None:
        counted_ms = max(fact.start, fact.at - 1) // NS
        cycle = fact.ideal_cycle_ms
        ideal = None if cycle is None else round(fact.produced * cycle * 1000)
        ideal_good = None if cycle is None else round(fact.good * cycle * 1000)
        context = fact.context
        made = (context.order, context.product, context.lot)
        pieces = (fact.produced, fact.good, fact.scrap, fact.rework)
        self._rows.setdefault("production", []).append(
            (*key, *place, fact.start, fact.at, counted_ms, *pieces, ideal, ideal_good, fact.energy_wh or 0, *made)
        )
        defects = self._rows.setdefault("production_defect", [])
        for defect, quantity in sorted(fact.defects.items()):
            defects.append((*key, defect, *place, counted_ms, context.product, quantity))
        self._add_context(place, fact.at, context)
        self._began(place, counted_ms)
        self._ledger.touch(place, counted_ms)
        self._ledger.touch_hour(place, counted_ms)
        if fact.produced > 0:
            self.data(place, fact.at, gateway)

    def _add_verdict(self, key: Key, place: Place, fact: f.Judged) -> None:
        summary = written(fact.summary)
        said = (fact.decision, fact.severity, fact.confidence)
        made = (fact.context.order, fact.context.product, fact.context.lot)
        model = "" if fact.ml is None else plain(f"{fact.ml.model} {fact.ml.version}")
        judged = (plain(fact.ruleset_version), model, int(fact.needs_human), operations.micro(fact.confidence) or 0)
        row = (*key, *place, fact.verdict_id, fact.start, fact.at, *said, fact.ruleset, summary, *made, *judged)
        self._rows.setdefault("judgment", []).append(row)
        if place not in self._verdict or self._verdict[place][0] <= fact.at:
            self._verdict[place] = (fact.at, fact.verdict_id, *said, summary)
        self._ledger.touch(place, (fact.at - 1) // NS)  # a window belongs to the shift in which it lies, not begins

    def _add_alarm(self, key: Key, place: Place, fact: f.AlarmChanged) -> None:
        what = (fact.active, fact.severity, written(fact.summary), fact.verdict_id)
        self._rows.setdefault("alarm_change", []).append((*key, *place, fact.at, fact.alarm, *what))
        if fact.active:
            self._ledger.touch_site(*place[:2], fact.at // NS)
        known = self._alarm.get((place, fact.alarm))
        if known is None or known[4] <= fact.at:
            self._alarm[place, fact.alarm] = (*place, fact.alarm, fact.at, *what)

    # --- writing ---

    def write(self, connection: Connection) -> None:
        """Write everything; called once, at the end of the transaction."""
        for table, rows in self._rows.items():
            connection.many(_INSERT[table], rows)
        connection.many(_INSERT_AUDITED, self._audited)
        connection.many(offers.SETTLE, self._offers)
        connection.many(commands.SETTLE, self._commands)
        self._write_lines(connection)
        connection.many(_UPSERT_ALARM, sorted(self._alarm.values(), key=lambda row: row[:4]))
        planned.write(connection, self._ledger, self._order.values())
        connection.many(operations.UPSERT_LOT, sorted(self._lot.values(), key=lambda row: row[:3]))
        connection.many(_UPSERT_PRODUCT, sorted(self._product.values(), key=lambda row: row[:3]))
        for product in sorted(self._product):
            products.arrange(connection, *product)
        self._mark_states(connection)

    def _write_lines(self, connection: Connection) -> None:
        for place, (at, gateway) in sorted(self._data_at.items()):
            known = connection.one(
                "select data_at, first_ms from work_unit where tenant=? and site=? and work_unit=?", place
            )
            if known is None:
                connection.execute(
                    "insert into work_unit(tenant, site, work_unit, gateway, data_at) values(?,?,?,?,?)"
                    " on conflict do nothing",
                    (*place, gateway, at or None),
                )
            elif at > (known[0] or 0):
                connection.execute(
                    "update work_unit set data_at=?, gateway=? where tenant=? and site=? and work_unit=?",
                    (at, gateway, *place),
                )
            first = self._first.get(place)
            if first is not None and (known is None or known[1] is None or first < known[1]):
                over.begin(connection, self._ledger, place, first)
            before = self._first_seen(connection, place, at) if known is None or known[0] is None else known[0]
            if at and at >= before:
                self._ledger.span(place, before // NS, at // NS, clock=True)
        for sql, newest in ((_SET_STATE, self._state), (_SET_CONTEXT, self._context), (_SET_VERDICT, self._verdict)):
            connection.many(sql, [(*values, *place, values[0]) for place, values in sorted(newest.items())])

    def _first_seen(self, connection: Connection, place: Place, at: int) -> int:
        """Give since when a line has said something, before it said anything good."""
        first = connection.one("select min(at) from equipment_state where tenant=? and site=? and work_unit=?", place)
        return at if first is None or first[0] is None else min(at, first[0])

    def _mark_states(self, connection: Connection) -> None:
        """A state counts until the next one: what it touches reaches that far."""
        for place, times in self._state_times.items():
            times.sort()
            following = connection.one(
                "select min(at) from equipment_state where tenant=? and site=? and work_unit=? and at>?",
                (*place, times[-1]),
            )
            horizon = connection.one("select data_at from work_unit where tenant=? and site=? and work_unit=?", place)
            end = following[0] if following is not None else None
            if end is None:
                end = max(times[-1], (horizon[0] if horizon else None) or 0)
            for start, stop in zip(times, [*times[1:], end], strict=True):
                self._ledger.span(place, start // NS, -(-stop // NS))


def _about(fact: f.Fact) -> tuple[str, str | None] | None:
    """Give what a fact of judging is about, and the lot where it says one; None for all other facts."""
    match fact:
        case FeedbackGiven():
            return fact.target, None
        case ActionDecided():
            return fact.action, fact.context.lot
        case ApprovalAnswered() | ActionEnded():
            return fact.action, None
        case TrustChanged():
            return fact.ruleset, None
        case ModeChanged():
            return fact.work_unit, None
        case ModelChanged() | DriftMeasured():
            return fact.model, None
        case CcpRecorded():
            return fact.ccp, fact.context.lot
        case RulesetActivated():
            return fact.ruleset_hash, None
        case _:
            return None


def _kind(fact: f.Fact) -> str:
    return str(fact.__struct_config__.tag)


def _insert(table: str, columns: str) -> str:
    names = columns.split()
    return f"insert into {table}({','.join(names)}) values({','.join('?' * len(names))})"


_OPERATIONS: Final = frozenset({f.ProductDefined, f.InventoryCounted, f.LotDefined, f.QualityMeasured})
_KEY: Final = "inc stream seq tenant site work_unit"
_INSERT: Final = {
    "equipment_state": _insert("equipment_state", f"{_KEY} at state reason status job_order product lot"),
    "production": _insert(
        "production",
        f"{_KEY} start at counted_ms produced good scrap rework ideal_us ideal_good_us energy_wh job_order product lot",
    ),
    "production_defect": _insert(
        "production_defect", "inc stream seq defect tenant site work_unit counted_ms product quantity"
    ),
    "judgment": _insert(
        "judgment",
        f"{_KEY} verdict_id start at decision severity confidence ruleset summary job_order product lot"
        " ruleset_version model needs_human confidence_ppm",
    ),
    "fact_subject": _insert("fact_subject", f"{_KEY} gateway kind subject at lot"),
    "alarm_change": _insert("alarm_change", f"{_KEY} at alarm active severity summary verdict_id"),
    "gap": _insert("gap", f"{_KEY} start at source tags reason"),
    "tally": _insert("tally", "gateway inc stream first last tenant start end_at")
    + " on conflict(gateway, inc, stream, first) do update set last=excluded.last, start=excluded.start,"
    " end_at=excluded.end_at",
    **{table: _insert(table, columns) for table, columns in operations.COLUMNS.items()},
}

_INSERT_AUDITED: Final = (
    "insert into audit_entry(inc, stream, seq, tenant, site, at, actor, action, target, words, gateway)"
    " select ?,?,?,?,?,?,?,?,?,?,name from gateway where id=?"
)
_SET_STATE: Final = (
    "update work_unit set state_at=?, state=?, reason=? where tenant=? and site=? and work_unit=? and state_at<=?"
)
_SET_CONTEXT: Final = "update work_unit set context_at=?, job_order=?, product=?, lot=?, context_stale=? where tenant=? and site=? and work_unit=? and context_at<=?"
_SET_VERDICT: Final = (
    "update work_unit set verdict_at=?, verdict_id=?, decision=?, severity=?, confidence=?, summary=?"
    " where tenant=? and site=? and work_unit=? and verdict_at<=?"
)
_UPSERT_ALARM: Final = (
    _insert("alarm", "tenant site work_unit alarm changed_at active severity summary verdict_id")
    + " on conflict(tenant, site, work_unit, alarm) do update set changed_at=excluded.changed_at,"
    " active=excluded.active, severity=excluded.severity, summary=excluded.summary, verdict_id=excluded.verdict_id"
    " where alarm.changed_at<=excluded.changed_at"
)
_UPSERT_PRODUCT: Final = (
    _insert("product", "tenant site product changed_at name ideal_cycle_ms")
    + " on conflict(tenant, site, product) do update set changed_at=excluded.changed_at, name=excluded.name,"
    " ideal_cycle_ms=excluded.ideal_cycle_ms where product.changed_at<=excluded.changed_at"
)
