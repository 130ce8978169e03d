"""Deciding anew what a fact comes to: its rows go, its winning revision's come, and the buckets of both are marked.

Everything happens in the caller's transaction, under a lock on the fact itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.database import Connection
from cloud.etl.checks import EARLIEST_NS, LATEST_NS
from cloud.etl.corrections import Record, Target, Winner, decide, stored
from cloud.etl.cycles import Cycles
from cloud.etl.gate import Candidate, Gate, Known
from cloud.ingest.project import Projection, is_line
from cloud.marts import over
from cloud.marts.ledger import Ledger
from cloud.plant import Place, Plants
from sync.facts import Fact, Produced, StateChanged

MS: Final = 1_000_000
ROWS_OF: Final = {
    "production": ("production_defect", "production"),
    "state": ("equipment_state",),
    "quality": ("quality_measurement",),
    "inventory": ("inventory",),
    "gap": ("gap",),
}
"""Kind of fact → tables that hold what it comes to."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fact."""

    record: Record
    winner: Winner
    held: bool

    @property
    def word(self) -> str:
        return "retracted" if self.winner.fact is None else "held" if self.held else "counts"


class Redo:
    """What one transaction decides anew."""

    def __init__(self, connection: Connection, gate: Gate, projection: Projection, ledger: Ledger, now_ns: int) -> None:
        self._connection = connection
        self._gate = gate
        self._projection = projection
        self._ledger = ledger
        self._now_ns = now_ns
        self._touched: set[Place] = set()

    def prepare(self, targets: Iterable[Target], fresh: frozenset[Target] = frozenset()) -> list[Candidate]:
        """Take back what facts came to until now; give what is to count instead, not yet admitted.

        fresh: those that came in this transaction and came to nothing yet. A fact that has not arrived gives nothing.
        """
        candidates: list[Candidate] = []
        for target in sorted(set(targets)):
            for record in stored(self._connection, target, lock=True):
                now, before = decide(self._connection, record)
                if target in fresh:
                    self._gate.hear(record)
                elif before.fact is not None:
                    self._take_back(record, before.fact)
                settle(self._connection, record, now, self._now_ns // MS)
                if now.fact is None:
                    continue
                self._touch(record, now.fact)
                released = _released(self._connection, record, now.rev)
                anew = target not in fresh
                candidates.append(Candidate(record, now.rev, now.fact, released=released, anew=anew))
        return candidates

    def _take_back(self, record: Record, fact: Fact) -> None:
        shadow = Projection(self._ledger, self._now_ns)  # marks the buckets, and is never written
        shadow.add(record.key, record.tenant, record.site, record.gateway, fact)
        if isinstance(fact, StateChanged):
            self._touch_state(record, fact)
        self._touch(record, fact)
        for table in ROWS_OF.get(str(fact.__struct_config__.tag), ()):
            self._connection.execute(f"delete from {table} where inc=? and stream=? and seq=?", record.key)  # noqa: S608 - ours

    def _touch_state(self, record: Record, fact: StateChanged) -> None:
        """A state counted until the next one: what the one before it takes over reaches that far."""
        if not is_line(fact.work_unit) or not EARLIEST_NS <= fact.at < LATEST_NS:
            return
        place = (record.tenant, record.site, fact.work_unit)
        row = self._connection.one(
            "select min(at) from equipment_state where tenant=? and site=? and work_unit=? and at>?", (*place, fact.at)
        )
        known = self._connection.one("select data_at from work_unit where tenant=? and site=? and work_unit=?", place)
        end = row[0] if row is not None and row[0] is not None else (known[0] if known is not None else None)
        self._ledger.span(place, fact.at // MS, -(-max(fact.at, end or 0) // MS))

    def _touch(self, record: Record, fact: Fact) -> None:
        if isinstance(fact, StateChanged | Produced) and is_line(fact.work_unit):
            self._touched.add((record.tenant, record.site, fact.work_unit))

    def admitted(self, candidates: Sequence[Candidate]) -> None:
        """Note which of them were held before and count now."""
        self._connection.many(
            "update finding set state='passed', settled_ms=? where inc=? and stream=? and seq=? and held and state='open'",
            [(self._now_ns // MS, *one.record.key) for one in candidates if not one.held],
        )

    def finish(self) -> None:
        """Say what holds now on the lines that were touched; called when the rows are written."""
        for place in sorted(self._touched):
            over.begin_anew(self._connection, self._ledger, place)
            newest = self._connection.one(
                "select at, state, reason from equipment_state where tenant=? and site=? and work_unit=?"
                " order by at desc, inc desc, seq desc limit 1",
                place,
            )
            self._connection.execute(
                "update work_unit set state_at=?, state=?, reason=? where tenant=? and site=? and work_unit=?",
                (*(newest or (0, "UNDEFINED", None)), *place),
            )
            made = [
                row
                for table in ("equipment_state", "production")
                for row in self._connection.execute(
                    f"select at, job_order, product, lot from {table} where tenant=? and site=? and work_unit=?"  # noqa: S608 - ours
                    " order by at desc, inc desc, seq desc limit 1",
                    place,
                )
            ]
            self._connection.execute(
                "update work_unit set context_at=?, job_order=?, product=?, lot=? where tenant=? and site=? and work_unit=?",
                (*max(made, key=lambda row: row[0], default=(0, None, None, None)), *place),
            )


def settle(connection: Connection, record: Record, winner: Winner, now_ms: int) -> None:
    """Close what was found about revisions that no longer count."""
    if winner.rev:
        connection.execute(
            "update finding set state='corrected', settled_ms=?, settled_by=? where inc=? and stream=? and seq=?"
            " and held and rev<>? and state in ('open', 'released')",
            (now_ms, winner.actor, *record.key, winner.rev),
        )


def _released(connection: Connection, record: Record, rev: int) -> bool:
    sql = "select 1 from finding where inc=? and stream=? and seq=? and rev=? and held and state='released'"
    return connection.one(sql, (*record.key, rev)) is not None


def redo(connection: Connection, plants: Plants, targets: Sequence[Target], now_ns: int) -> tuple[list[Outcome], int]:
    """Decide about stored facts anew, whole and by itself; gives what became of each, and how many buckets it touched."""
    ledger = Ledger(plants, now_ns // MS)
    projection = Projection(ledger, now_ns)
    gate = Gate(connection, plants, projection, Known(), now_ns)
    work = Redo(connection, gate, projection, ledger, now_ns)
    candidates = work.prepare(targets)
    gate.admit(candidates, Cycles.load(connection))
    work.admitted(candidates)
    projection.write(connection)
    work.finish()
    ledger.write(connection)
    by_key = {one.record.key: one for one in candidates}
    outcomes = [
        Outcome(record, decide(connection, record)[0], held=record.key in by_key and by_key[record.key].held)
        for target in sorted(set(targets))
        for record in stored(connection, target)
    ]
    return outcomes, ledger.touched
