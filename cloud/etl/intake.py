"""What one transaction of ingest does with its facts: corrections are taken in, the rest goes through the gate.

A correction may come before its fact, after it, or with it in one chunk; twice, or behind a higher one. All of it comes
to the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cloud.database import Connection
from cloud.etl.checks import CHECKED, Found
from cloud.etl.corrections import CorrectionError, Record, Target, accept, corrected, told
from cloud.etl.cycles import Cycles
from cloud.etl.gate import Candidate, Gate, Known, note
from cloud.etl.redo import Redo
from cloud.ingest.project import Projection
from cloud.marts.ledger import Ledger
from cloud.plant import Plants
from sync.corrections import Corrected
from sync.facts import ProductDefined

MS: Final = 1_000_000


class Intake:
    """The facts of one transaction."""

    def __init__(
        self,
        connection: Connection,
        plants: Plants,
        ledger: Ledger,
        projection: Projection,
        *,
        known: Known,
        now_ns: int,
    ) -> None:
        self._connection = connection
        self._projection = projection
        self._now_ns = now_ns
        self._gate = Gate(connection, plants, projection, known, now_ns)
        self._redo = Redo(connection, self._gate, projection, ledger, now_ns)
        self._records: list[Record] = []
        self._again: list[Record] = []
        self._corrections: list[tuple[Record, Corrected]] = []

    def take(self, record: Record) -> None:
        """Take one fact in."""
        fact = record.fact
        if isinstance(fact, CHECKED):
            self._records.append(record)
            return
        if isinstance(fact, Corrected):
            self._corrections.append((record, fact))
            return
        if isinstance(fact, ProductDefined):
            self._gate.learn(record.tenant, record.site, fact)
        self._projection.add(record.key, record.tenant, record.site, record.gateway, fact)

    def again(self, record: Record) -> None:
        """Take in anew what is stored and counted nowhere, because of its date, which was put right."""
        if isinstance(record.fact, CHECKED):
            self._again.append(record)
        else:
            self._projection.add(record.key, record.tenant, record.site, record.gateway, record.fact)

    def settle(self) -> None:
        """Decide what counts; the facts themselves are written, what they come to is not yet."""
        targets = self._accept()
        if not self._records and not targets and not self._again:
            return
        (late, rated) = self._connection.execute(
            "select (select 1 from correction where state='waiting' limit 1), (select 1 from ideal_cycle limit 1)"
        )[0]
        fresh = _corrected(self._connection, self._records) if late is not None else set[Target]()
        fresh |= {one.target for one in self._records} & targets if targets else set()
        targets |= fresh | _corrected(self._connection, self._again)
        redated = [Candidate(one, 0, one.fact) for one in self._again if one.target not in targets]
        simple = [Candidate(one, 0, one.fact) for one in self._records if not targets or one.target not in targets]
        decided = [*self._redo.prepare(targets, frozenset(fresh)), *redated]
        cycles = Cycles.load(self._connection) if rated is not None else Cycles([])
        self._gate.admit([*simple, *decided], cycles)
        self._redo.admitted(decided)

    def finish(self) -> None:
        """Say what holds now; called when everything is written."""
        self._redo.finish()

    @property
    def held(self) -> int:
        """Facts of this transaction that do not count."""
        return self._gate.held

    def _accept(self) -> set[Target]:
        targets: set[Target] = set()
        for record, fact in self._corrections:
            correction = told(record.tenant, record.site, fact)
            try:
                if accept(self._connection, correction, self._now_ns // MS):
                    targets.add(correction.target)
            except CorrectionError as error:
                refused = Candidate(record, 0, fact, found=[Found("correction_refused", {"why": str(error)})])
                note(self._connection, [refused], self._now_ns // MS)
        return targets


def _corrected(connection: Connection, records: Sequence[Record]) -> set[Target]:
    """Give which records have corrections: by spans, one look-up for neighbours instead of one each."""
    spans: dict[tuple[str, str, int], list[int]] = {}
    for one in records:
        spans.setdefault((one.tenant, one.name, one.key[1]), []).append(one.key[2])
    found = corrected(
        connection,
        [(tenant, name, stream, min(seqs), max(seqs)) for (tenant, name, stream), seqs in spans.items()],
    )
    return set(found) & {one.target for one in records} if found else set()
