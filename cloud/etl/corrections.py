"""Revisions of facts: taken in whatever order they come, kept for ever, the highest one told from the others.

A fact is its own revision 0. Of two corrections with one number the greater digest holds, so that the answer depends
on what was said and never on when it arrived. What cannot hold is refused, with the reason, and changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cloud.bi.times import iso, iso_ns
from cloud.database import Connection
from cloud.ingest import redate
from sync.corrections import Corrected
from sync.facts import AnyFact, Fact, Gap, InventoryCounted, Produced, QualityMeasured, StateChanged, Stream

CORRECTABLE: Final = (Produced, StateChanged, QualityMeasured, InventoryCounted, Gap)
KINDS: Final = tuple(str(kind.__struct_config__.tag) for kind in CORRECTABLE)
MOST_BYTES: Final = 64 * 1024
"""Of a replacement as JSON."""
LAST_REV: Final = 1_000_000
AT_ONCE: Final = 500
"""Times that are looked up in one statement."""
LONGEST: Final = 500
"""Characters of a name or a reason that are kept."""

_fact: Final[msgspec.json.Decoder[Fact]] = msgspec.json.Decoder(AnyFact)

Key = tuple[int, int, int]
"""(incarnation's row, stream, seq)."""


class CorrectionError(ValueError):
    """A correction that cannot hold; says why."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """Which fact: its identity by name, because neither it nor its gateway need have arrived."""

    tenant: str
    inc: str
    stream: int
    seq: int

    def __str__(self) -> str:
        return f"{self.inc}/{self.stream}/{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One revision of a fact."""

    target: Target
    rev: int
    replacement: dict[str, Any] | None
    site: str
    """Whose gateway says so; empty for a person in the cloud."""
    at: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """A fact that is stored."""

    key: Key
    name: str
    """The incarnation's 32 hex digits."""
    tenant: str
    site: str
    gateway: int
    fact: Fact

    @property
    def target(self) -> Target:
        return Target(self.tenant, self.name, self.key[1], self.key[2])


def told(tenant: str, site: str, fact: Corrected) -> Correction:
    """Give what a gateway's fact says."""
    target = Target(tenant, fact.inc, fact.stream, fact.seq)
    return Correction(
        target=target,
        rev=fact.rev,
        replacement=fact.replacement,
        site=site,
        at=fact.at,
        actor=fact.by,
        reason=fact.reason,
    )


def identify(correction: Correction) -> None:
    """Refuse what names no record and no revision. Raises CorrectionError."""
    target = correction.target
    if not (1 <= correction.rev <= LAST_REV):
        raise CorrectionError(f"revision {correction.rev} is not between 1 and {LAST_REV}")
    if len(target.inc) != 32 or set(target.inc) - set("0123456789abcdef"):
        raise CorrectionError("an incarnation has 32 hex digits")
    if target.stream not in set(Stream) or not 1 <= target.seq < 2**62:
        raise CorrectionError(f"there is no record {target.stream}/{target.seq}")


def decode(correction: Correction) -> Fact | None:
    """Give the fact as it should have been, None where it is taken back. Raises CorrectionError."""
    if not correction.actor.strip() or not correction.reason.strip():
        raise CorrectionError("it has to be said who corrects, and why")
    if correction.replacement is None:
        return None
    try:
        raw = msgspec.json.encode(correction.replacement, order="sorted")
        if len(raw) > MOST_BYTES:
            raise CorrectionError(f"a replacement has {MOST_BYTES} bytes at most, this one has {len(raw)}")
        _bounded(correction.replacement)
        fact = _fact.decode(raw)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, CorrectionError):
            raise
        raise CorrectionError(f"the replacement is no fact: {error}") from error
    if not isinstance(fact, CORRECTABLE):
        kind = fact.__struct_config__.tag
        raise CorrectionError(f"a fact of kind {kind!r} cannot be corrected; there are {', '.join(KINDS)}")
    return fact


def _bounded(value: Any) -> None:
    """Refuse what no database holds: it must not turn up when the fact arrives, and take its neighbours with it."""
    match value:
        case bool() | None | float():
            pass
        case int() if abs(value) >= 2**62:
            raise CorrectionError(f"{value} is too large a number")
        case str() if "\0" in value:
            raise CorrectionError("a text holds a NUL")
        case dict():
            for name, one in value.items():
                _bounded(name)
                _bounded(one)
        case list():
            for one in value:
                _bounded(one)
        case _:
            pass


def _plain(text: str) -> str:
    return text.replace("\0", "\ufffd")[:LONGEST]


def accept(connection: Connection, correction: Correction, now_ms: int) -> bool:
    """Keep a correction, refused or not; tells whether it is new. The same twice changes nothing.

    Raises CorrectionError for one that is refused, after it was kept as far as it can be.
    """
    identify(correction)
    why = ""
    try:
        decode(correction)
    except CorrectionError as error:
        why = str(error)
    said = None
    if correction.replacement is not None:
        said = msgspec.json.encode(correction.replacement, order="sorted").decode()[:MOST_BYTES]
    target = correction.target
    digest = hashlib.sha256(b"" if said is None else said.encode()).hexdigest()
    added = connection.execute(
        "insert into correction(tenant, inc, stream, seq, rev, digest, site, at, recorded_ms, actor, reason,"
        " replacement, state, why) values(?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " on conflict(tenant, inc, stream, seq, rev, digest) do nothing returning rev",
        (
            target.tenant,
            target.inc,
            target.stream,
            target.seq,
            correction.rev,
            digest,
            correction.site,
            max(-(2**62), min(correction.at, 2**62)),
            now_ms,
            _plain(correction.actor),
            _plain(correction.reason),
            said,
            "refused" if why else "waiting",
            _plain(why),
        ),
    )
    if why:
        raise CorrectionError(why)
    return bool(added)


def corrected(connection: Connection, spans: Iterable[tuple[str, str, int, int, int]]) -> list[Target]:
    """Give the facts of some spans (tenant, incarnation, stream, first, last) that have corrections."""
    found: list[Target] = []
    for tenant, inc, stream, first, last in spans:
        rows = connection.execute(
            "select distinct seq from correction where tenant=? and inc=? and stream=? and seq between ? and ?"
            " and state<>'refused'",
            (tenant, inc, stream, first, last),
        )
        found += [Target(tenant, inc, stream, int(seq)) for (seq,) in rows]
    return found


_RECORD: Final = (
    "select i.id, g.id, g.site, f.body from incarnation i join gateway g on g.id=i.gateway"
    " join fact f on f.inc=i.id and f.stream=? and f.seq=? where i.tenant=? and i.inc=?"
)


def stored(connection: Connection, target: Target, *, lock: bool = False) -> list[Record]:
    """Give the fact with this identity as it came, dated by a clock that was set; none where it did not come.

    A copy of a gateway's disk may have brought it twice. lock: nobody else decides about it before our commit.
    """
    sql = f"{_RECORD} for update of f" if lock and connection.postgresql else _RECORD
    rows = connection.execute(sql, (target.stream, target.seq, target.tenant, target.inc))
    found: list[Record] = []
    for inc, gateway, site, body in rows:
        try:
            fact = _fact.decode(body)
        except msgspec.MsgspecError:
            continue  # of a kind we do not know
        if redate.dates(fact) and (step := redate.step(connection, inc)) is not None:
            fact = redate.fact(fact, step)
        found.append(Record((int(inc), target.stream, target.seq), target.inc, target.tenant, site, int(gateway), fact))
    return found


def righted(
    connection: Connection, tenant: str, times: Collection[int]
) -> dict[tuple[str, int], list[tuple[Key, Fact]]]:
    """Give the records of these times (ns) that were put right or taken back, as they came: (site, time) → them."""
    found: dict[tuple[str, int], list[tuple[Key, Fact]]] = {}
    every = sorted(times)
    for begin in range(0, len(every), AT_ONCE):
        some = every[begin : begin + AT_ONCE]
        for inc, stream, seq, site, at, body in connection.execute(
            "select f.inc, f.stream, f.seq, g.site, f.at, f.body from fact f join incarnation i on i.id=f.inc"  # noqa: S608
            f" join gateway g on g.id=i.gateway where f.tenant=? and f.at in ({','.join('?' * len(some))})"
            " and exists (select 1 from correction c where c.tenant=f.tenant and c.inc=i.inc and c.stream=f.stream"
            " and c.seq=f.seq and c.state='standing')",
            (tenant, *some),
        ):
            with contextlib.suppress(msgspec.MsgspecError):  # of a kind we do not know
                found.setdefault((site, int(at)), []).append(((int(inc), int(stream), int(seq)), _fact.decode(body)))
    return found


@dataclass(frozen=True, slots=True)
class Winner:
    """What counts of a fact."""

    rev: int
    fact: Fact | None
    """None when it was taken back."""
    actor: str = ""


_STANDS: Final = (
    "select rev, digest, site, replacement, actor, state from correction where tenant=? and inc=? and stream=? and seq=?"
    " and state<>'refused' order by rev desc, digest desc"
)
_STATE: Final = (
    "update correction set state=?, why=? where tenant=? and inc=? and stream=? and seq=? and rev=? and digest=?"
)


def decide(connection: Connection, record: Record) -> tuple[Winner, Winner]:
    """Give what counts of a stored fact now, and what counted before; note both. What cannot hold is refused."""
    target = record.target
    values = (target.tenant, target.inc, target.stream, target.seq)
    before = now = Winner(0, record.fact)
    won = False
    for rev, digest, site, replacement, actor, state in connection.execute(_STANDS, values):
        fact = None if replacement is None else _fact.decode(replacement)
        if state == "standing":
            before = Winner(int(rev), fact, actor)
        why = _misfit(record, site, fact)
        if why:
            connection.execute(_STATE, ("refused", why, *values, rev, digest))
            continue
        if not won:
            now, won = Winner(int(rev), fact, actor), True
            becomes = "standing"
        else:
            becomes = "superseded"
        if state != becomes:
            connection.execute(_STATE, (becomes, "", *values, rev, digest))
    return now, before


def _misfit(record: Record, site: str, fact: Fact | None) -> str:
    if not isinstance(record.fact, CORRECTABLE):
        return f"the record is of kind {record.fact.__struct_config__.tag!r}, which is never changed"
    if fact is not None and type(fact) is not type(record.fact):
        tags = (record.fact.__struct_config__.tag, fact.__struct_config__.tag)
        return f"the record is of kind {tags[0]!r}, its replacement of kind {tags[1]!r}"
    if site not in {"", record.site}:
        return f"a gateway of site {site!r} cannot correct a fact of site {record.site!r}"
    return ""


def next_rev(connection: Connection, target: Target) -> int:
    """Give the number that a new revision has."""
    row = connection.one(
        "select max(rev) from correction where tenant=? and inc=? and stream=? and seq=? and state<>'refused'",
        (target.tenant, target.inc, target.stream, target.seq),
    )
    return 1 + (int(row[0]) if row is not None and row[0] is not None else 0)


def history(connection: Connection, target: Target) -> list[dict[str, Any]]:
    """Give every revision of a fact, the one it came with first."""
    rows = connection.execute(
        "select rev, digest, site, at, recorded_ms, actor, reason, replacement, state, why from correction"
        " where tenant=? and inc=? and stream=? and seq=? order by rev, digest",
        (target.tenant, target.inc, target.stream, target.seq),
    )
    corrected = any(row[8] == "standing" for row in rows)
    found = [
        {
            "rev": 0,
            "state": "superseded" if corrected else "standing",
            "at": iso_ns(one.fact.at) if 0 <= one.fact.at < 2**63 else None,
            "recorded": None,
            "by": "",
            "reason": "",
            "site": one.site,
            "retracts": False,
            "body": msgspec.to_builtins(one.fact),
            "why": "",
        }
        for one in stored(connection, target)[:1]
    ]
    found += [_revision(row) for row in rows]
    return found


def _revision(row: Sequence[Any]) -> dict[str, Any]:
    rev, _, site, at, recorded, actor, reason, replacement, state, why = row
    try:
        body = None if replacement is None else json.loads(replacement)
    except ValueError:  # refused, and cut short
        body = replacement
    return {
        "rev": int(rev),
        "state": state,
        "at": iso(at // 1_000_000) if 0 <= at < 4_102_444_800_000_000_000 else None,
        "recorded": iso(recorded),
        "by": actor,
        "reason": reason,
        "site": site,
        "retracts": replacement is None,
        "body": body,
        "why": why,
    }
