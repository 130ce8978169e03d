"""The gate between facts and figures: what may count goes on to the projection, what cannot be true is held.

One pass over a transaction's facts: the checks of each, then those that need its neighbours (counted twice,
overlapping) with one look at the database per line, then what is known of products and lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cloud.database import Connection
from cloud.etl.checks import MS, Found, check
from cloud.etl.corrections import Key, Record
from cloud.etl.cycles import Cycles
from cloud.etl.rules import RULES
from cloud.ingest.project import Projection, is_line
from cloud.plant import Place, Plants
from sync.facts import Fact, Produced, ProductDefined, StateChanged

LONGEST_MS: Final = 86_400_000
"""An interval that overlaps may have begun this long before."""

Span = tuple[int, int, str, Key]
"""(start, end, product, record)."""


@dataclass(slots=True)
class Candidate:
    """A fact as it is to count."""

    record: Record
    rev: int
    fact: Fact
    released: bool = False
    """A person said that it counts as it is."""
    found: list[Found] = field(default_factory=list[Found])

    @property
    def held(self) -> bool:
        return not self.released and any(one.holds for one in self.found)

    @property
    def place(self) -> Place:
        return self.record.tenant, self.record.site, self.fact.work_unit

    @property
    def subject(self) -> str:
        return f"{self.record.target}#{self.rev}"


class Known:
    """What of the plant was seen already; remembered while the process runs, dropped when a transaction was rolled back."""

    def __init__(self) -> None:
        self.products: dict[tuple[str, str], set[str]] = {}
        self.strange: dict[tuple[str, str], set[str]] = {}


class Gate:
    """The gate of one transaction."""

    def __init__(
        self, connection: Connection, plants: Plants, projection: Projection, known: Known, now_ns: int
    ) -> None:
        self._connection = connection
        self._plants = plants
        self._projection = projection
        self._known = known
        self._now_ns = now_ns
        self.held = 0

    def admit(self, candidates: Sequence[Candidate], cycles: Cycles) -> None:
        """Check facts, note what was found, and hand on what counts."""
        for one in candidates:
            one.fact = cycles.apply(one.record, one.fact)
            one.found = check(one.fact, self._now_ns)
        self._neighbours([one for one in candidates if isinstance(one.fact, Produced) and not one.held])
        self._members(candidates)
        for one in candidates:
            if one.held:
                self.held += 1
                if one.rev == 0:
                    self.hear(one.record)
                continue
            self._projection.hears = one.rev == 0
            self._projection.add(one.record.key, one.record.tenant, one.record.site, one.record.gateway, one.fact)
        self._projection.hears = True
        note(self._connection, candidates, self._now_ns // MS)

    def hear(self, record: Record) -> None:
        """A line was heard even where what it said does not count."""
        fact = record.fact
        good = isinstance(fact, StateChanged) and fact.status >> 30 == 0
        if (good or (isinstance(fact, Produced) and fact.produced > 0)) and is_line(fact.work_unit):
            self._projection.data((record.tenant, record.site, fact.work_unit), fact.at, record.gateway)

    # --- beside each other ---

    def _neighbours(self, made: Sequence[Candidate]) -> None:
        by_place: dict[Place, list[Candidate]] = {}
        for one in made:
            if is_line(one.fact.work_unit):
                by_place.setdefault(one.place, []).append(one)
        for place, mine in by_place.items():
            self._of_line(place, sorted(mine, key=lambda one: one.record.key))

    def _of_line(self, place: Place, mine: Sequence[Candidate]) -> None:
        facts = [one.fact for one in mine if isinstance(one.fact, Produced)]
        first, last = min(fact.start for fact in facts), max(fact.at for fact in facts)
        own = {one.record.key for one in mine}
        seen: dict[tuple[Any, ...], Key] = {}
        spans: list[Span] = []
        for inc, stream, seq, start, at, order, product, lot, *pieces in self._connection.execute(
            "select inc, stream, seq, start, at, job_order, product, lot, produced, good, scrap, rework from production"
            " where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<? and start<? and at>?",
            (*place, first // MS, last // MS + LONGEST_MS, last, first),
        ):
            key = (int(inc), int(stream), int(seq))
            if key not in own:
                seen[(start, at, order, product, lot, *pieces)] = key
                spans.append((int(start), int(at), product or "", key))
        for one in mine:
            fact = one.fact
            if not isinstance(fact, Produced) or not fact.produced:
                continue
            context = fact.context
            pieces = (fact.produced, fact.good, fact.scrap, fact.rework)
            content = (fact.start, fact.at, context.order, context.product, context.lot, *pieces)
            twin = seen.setdefault(content, one.record.key)
            if twin != one.record.key:
                one.found.append(Found("duplicate", {"of": _spelled(twin)}))
            else:
                spans.append((fact.start, fact.at, context.product or "", one.record.key))
        self._overlaps(place, mine, spans)

    def _overlaps(self, place: Place, mine: Sequence[Candidate], spans: list[Span]) -> None:
        """Of one product, the same time may be counted once: look at each span beside the one before it."""
        own = {one.record.key: one for one in mine}
        spans.sort(key=lambda span: (span[2], span[0], span[1], span[3]))
        until, by, product = 0, (0, 0, 0), None
        for start, end, what, key in spans:
            if what == product and start < until:
                one = own.get(key) or own.get(by)
                if one is not None:
                    other = by if one.record.key == key else key
                    one.found.append(Found("overlap", {"of": _spelled(other)}, place[2]))
            if what != product or end > until:
                until, by, product = end, key, what

    # --- known to the plant ---

    def _members(self, candidates: Iterable[Candidate]) -> None:
        made: dict[tuple[str, str], dict[str, Candidate]] = {}
        for one in candidates:
            owner = (one.record.tenant, one.record.site)
            if (product := _product(one.fact)) is not None:
                made.setdefault(owner, {}).setdefault(product, one)
            if one.fact.work_unit and self._strange_line(owner, one.fact.work_unit):
                one.found.append(Found("unknown_line", {}, one.fact.work_unit))
        for owner, products in made.items():
            for product in sorted(products.keys() - self._known.products.setdefault(owner, set())):
                if self._strange_product(owner, product):
                    products[product].found.append(Found("unknown_product", {}, product))

    def _strange_line(self, owner: tuple[str, str], work_unit: str) -> bool:
        """Tell, once per process, whether nobody configured a line of a site whose lines are configured."""
        told = self._known.strange.setdefault(owner, set())
        if work_unit in told:
            return False
        told.add(work_unit)
        try:
            names = self._plants[owner].names
        except KeyError:
            return False
        return bool(names) and work_unit not in names

    def _strange_product(self, owner: tuple[str, str], product: str) -> bool:
        """Tell whether a site has master data, and not of this product."""
        known = self._known.products[owner]
        (found,) = self._connection.execute(
            "select (select count(*) from product where tenant=? and site=? and product=?),"
            " (select count(*) from (select 1 from product where tenant=? and site=? limit 1) one)",
            (*owner, product, *owner),
        )
        if found[0] or not (found[1] or known):
            if found[0]:
                known.add(product)
            return False
        return True

    def learn(self, tenant: str, site: str, fact: ProductDefined) -> None:
        """Master data came, perhaps in the same transaction as what is made of it."""
        self._known.products.setdefault((tenant, site), set()).add(fact.product)


def _product(fact: Fact) -> str | None:
    return fact.context.product if isinstance(fact, Produced) else None


def _spelled(key: Key) -> str:
    return "/".join(map(str, key))


_COLUMNS: Final = (
    "tenant", "site", "work_unit", "gateway", "code", "severity", "held", "subject", "inc", "stream", "seq", "rev",
    "kind", "at", "times", "detail", "recorded_ms", "last_ms", "state",
)  # fmt: skip
_NOTE: Final = (
    f"insert into finding({','.join(_COLUMNS)}) values({','.join('?' * len(_COLUMNS))})"
    " on conflict(tenant, site, code, subject) do update set last_ms=excluded.last_ms, detail=excluded.detail,"
    " inc=excluded.inc, stream=excluded.stream, seq=excluded.seq, rev=excluded.rev, at=excluded.at,"
    " times=case when finding.held then 1 else finding.times+excluded.times end,"
    " state=case when finding.held and finding.state<>'released' then 'open' else finding.state end"
)


def note(connection: Connection, candidates: Iterable[Candidate], now_ms: int) -> None:
    """Write what was found: a row for every record that is held, and one for all that a warning is about."""
    rows: dict[tuple[str, str, str, str], list[Any]] = {}
    for one in candidates:
        for found in one.found:
            rule = RULES[found.code]
            subject = found.subject or one.subject
            key = (one.record.tenant, one.record.site, found.code, _plain(subject))
            times = 1 + (rows[key][14] if key in rows else 0)
            detail = found.detail | ({"subject": found.subject} if found.subject else {})
            rows[key] = [
                *(
                    key[0],
                    key[1],
                    _plain(one.fact.work_unit),
                    one.record.gateway,
                    found.code,
                    rule.severity,
                    rule.holds,
                ),
                *(key[3], *one.record.key, one.rev, str(one.fact.__struct_config__.tag), _bounded(one.fact.at)),
                *(times, _text(detail), now_ms, now_ms, "released" if one.released and rule.holds else "open"),
            ]
    connection.many(_NOTE, [row for _, row in sorted(rows.items())])


def _text(detail: Mapping[str, Any]) -> str:
    return json.dumps(detail, ensure_ascii=False, default=str).replace("\\u0000", "\\ufffd")


def _plain(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _bounded(at: int) -> int:
    return max(-(2**62), min(at, 2**62))
