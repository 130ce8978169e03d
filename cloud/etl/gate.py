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
from cloud.etl.corrections import CORRECTABLE, Key, Record, righted
from cloud.etl.cycles import Cycles
from cloud.etl.rules import RULES
from cloud.ingest.project import Projection, is_line
from cloud.plant import Place, Plants
from sync.facts import Fact, Produced, ProductDefined, StateChanged

AROUND_NS: Final = 3_600_000_000_000
"""Intervals are held against those that end within this time of them; facts further apart are looked up apart."""

Span = tuple[str, int, int, Key]
"""(product, start, end, record)."""


@dataclass(slots=True)
class Candidate:
    """A fact as it is to count."""

    record: Record
    rev: int
    fact: Fact
    released: bool = False
    """A person said that it counts as it is."""
    anew: bool = False
    """It came before and is decided anew."""
    found: list[Found] = field(default_factory=list[Found])

    @property
    def held(self) -> bool:
        return bool(self.found) and not self.released and any(one.holds for one in self.found)

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
        made: dict[Place, list[tuple[Produced, Candidate]]] = {}
        lines: dict[Place, Candidate] = {}
        for one in candidates:
            one.fact = fact = cycles.apply(one.record, one.fact)
            one.found = check(fact, self._now_ns)
            place = one.place
            if place not in lines:
                lines[place] = one
            if isinstance(fact, Produced) and not one.held:
                made.setdefault(place, []).append((fact, one))
        for place, mine in made.items():
            if is_line(place[2]):
                self._neighbours(place, mine)
        self._again([one for one in candidates if one.rev == 0 and isinstance(one.fact, CORRECTABLE)])
        self._members(lines, made)
        for one in candidates:
            record = one.record
            if one.held:
                self.held += 1
                if one.rev == 0:
                    self.hear(record)
                continue
            self._projection.hears = one.rev == 0
            self._projection.add(record.key, record.tenant, record.site, record.gateway, one.fact)
        self._projection.hears = True
        note(self._connection, [one for one in candidates if one.found], self._now_ns // MS)

    def hear(self, record: Record) -> None:
        """A line was heard even where what it said does not count."""
        fact = record.fact
        good = isinstance(fact, StateChanged) and fact.status >> 30 == 0
        if (good or (isinstance(fact, Produced) and fact.produced > 0)) and is_line(fact.work_unit):
            self._projection.data((record.tenant, record.site, fact.work_unit), fact.at, record.gateway)

    # --- said before ---

    def _again(self, mine: Sequence[Candidate]) -> None:
        """Find what says the very same as a record that was put right since, as it came: its source asked once more.

        What had come before the other was put right is none of these, whenever it is looked at again.
        """
        by_tenant: dict[str, list[Candidate]] = {}
        for one in mine:
            by_tenant.setdefault(one.record.tenant, []).append(one)
        for tenant, some in by_tenant.items():
            if self._connection.one("select 1 from correction where tenant=? and state='standing' limit 1", (tenant,)):
                originals = righted(self._connection, tenant, {one.record.fact.at for one in some})
                for one in some:
                    twins = [
                        key
                        for key, fact in originals.get((one.record.site, one.record.fact.at), ())
                        if key != one.record.key and fact == one.record.fact
                    ]
                    if twins and (not one.anew or self._said_again(one.record.key)):
                        one.found.append(Found("corrected_again", {"of": _spelled(min(twins))}))

    def _said_again(self, key: Key) -> bool:
        sql = "select 1 from finding where inc=? and stream=? and seq=? and code='corrected_again'"
        return self._connection.one(sql, key) is not None

    # --- beside each other ---

    def _neighbours(self, place: Place, made: list[tuple[Produced, Candidate]]) -> None:
        """Look at what a line made in the order of time, a stretch at once: one late fact shall not cost a month."""
        made.sort(key=lambda one: (one[0].start, one[1].record.key))
        part: list[tuple[Produced, Candidate]] = []
        until = 0
        for one in made:
            fact = one[0]
            if not fact.produced or fact.at - fact.start > AROUND_NS * 24:
                continue
            if part and fact.start > until + AROUND_NS:
                self._stretch(place, part, until)
                part = []
            part.append(one)
            until = max(until, fact.at) if len(part) > 1 else fact.at
        if part:
            self._stretch(place, part, until)

    def _stretch(self, place: Place, mine: list[tuple[Produced, Candidate]], last: int) -> None:
        first = mine[0][0].start
        seen: dict[tuple[Any, ...], Key] = {}
        spans: list[Span] = []
        for inc, stream, seq, start, at, product, *rest in self._connection.execute(
            "select inc, stream, seq, start, at, product, job_order, lot, produced, good, scrap, rework from production"
            " where tenant=? and site=? and work_unit=? and counted_ms>=? and counted_ms<? and start<? and at>?",
            (*place, first // MS, (last + AROUND_NS) // MS, last, first),
        ):
            key = (inc, stream, seq)
            seen[(start, at, product, *rest)] = key
            spans.append((product or "", start, at, key))
        own = {one.record.key: one for _, one in mine}
        if spans:  # what is decided anew is taken back already, and what came with it not written yet
            seen = {content: key for content, key in seen.items() if key not in own}
            spans = [span for span in spans if span[3] not in own]
        for fact, one in mine:
            said = fact.context
            content = (
                *(fact.start, fact.at, said.product, said.order, said.lot),
                *(fact.produced, fact.good, fact.scrap, fact.rework),
            )
            key = one.record.key
            if (twin := seen.setdefault(content, key)) != key:
                one.found.append(Found("duplicate", {"of": _spelled(twin)}))
            else:
                spans.append((said.product or "", fact.start, fact.at, key))
        self._overlaps(place, own, spans)

    def _overlaps(self, place: Place, own: Mapping[Key, Candidate], spans: list[Span]) -> None:
        """Of one product, the same time may be counted once: look at each span beside the one before it."""
        spans.sort()
        until, by, product = 0, (0, 0, 0), None
        for what, start, end, key in spans:
            if what != product:
                until, by, product = end, key, what
                continue
            if start < until:
                one = own.get(key) or own.get(by)
                if one is not None:
                    other = by if one.record.key == key else key
                    one.found.append(Found("overlap", {"of": _spelled(other)}, place[2]))
            if end > until:
                until, by = end, key

    # --- known to the plant ---

    def _members(
        self, lines: Mapping[Place, Candidate], made: Mapping[Place, Sequence[tuple[Produced, Candidate]]]
    ) -> None:
        for place, one in lines.items():
            if place[2] and self._strange_line(place[:2], place[2]):
                one.found.append(Found("unknown_line", {}, place[2]))
        strange: dict[tuple[tuple[str, str], str], bool] = {}
        for place, mine in made.items():
            owner = place[:2]
            known = self._known.products.setdefault(owner, set())
            for fact, one in mine:
                product = fact.context.product
                if product is None or product in known or (owner, product) in strange:
                    continue
                strange[owner, product] = self._strange_product(owner, product)
                if strange[owner, product]:
                    one.found.append(Found("unknown_product", {}, product))

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
