"""The ledger by the hour: what each gateway produced in an hour, and where every record of it is now.

A gateway tallies each finished hour as ranges of sequence numbers (`sync.facts.Tallied`), on the lane that is sent
first, so that hours whose readings still wait are known before them. With a range everything else is arithmetic: what
lies at or below the watermark and is not declared lost is stored, what lies above waits as far as the gateway says it
holds it, and the rest is unaccounted. Records without a tally belong to the time between the tallies around them; when
that is within one hour they count there, else those hours say that they do not know yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cloud.bi.completeness import Account, GatewayAccounts, accounts
from cloud.bi.times import iso
from cloud.database import Connection

HOUR_MS: Final = 3_600_000
HOUR_NS: Final = HOUR_MS * 1_000_000
TERMS: Final = ("produced", "stored", "waiting", "lost", "unaccounted")

Range = tuple[int, int]


@dataclass(slots=True, kw_only=True)
class Sums:
    """Where the records of some range are: produced = stored + waiting + lost + unaccounted."""

    produced: int = 0
    stored: int = 0
    waiting: int = 0
    lost: int = 0
    unaccounted: int = 0
    """Neither stored, nor lost, nor held by the gateway: nobody knows where they are."""
    reasons: Counter[str] = field(default_factory=Counter[str])

    def add(self, other: Sums) -> None:
        for term in TERMS:
            setattr(self, term, getattr(self, term) + getattr(other, term))
        self.reasons.update(other.reasons)

    def answer(self) -> dict[str, Any]:
        """Give it as the API says it."""
        losses = [{"reason": reason, "count": count} for reason, count in sorted(self.reasons.items())]
        return {**{term: getattr(self, term) for term in TERMS}, "losses": losses}


@dataclass(slots=True, kw_only=True)
class Hour:
    """One hour of one gateway."""

    start_ms: int
    state: str = "empty"
    """complete, lost, arriving, unaccounted, unknown, running, empty (nothing was recorded) or before (its first)."""
    streams: dict[int, Sums] = field(default_factory=dict[int, Sums])
    untold: int = 0
    """Records of this hour or of hours beside it, which no tally tells apart; they stand in each of these hours."""

    def total(self, streams: Iterable[int] | None = None) -> Sums:
        """Give the sums of some streams, all by default."""
        sums = Sums()
        for stream in self.streams if streams is None else streams:
            if stream in self.streams:
                sums.add(self.streams[stream])
        return sums


@dataclass(frozen=True, slots=True)
class Told:
    """One tally of one stream."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One stream of one incarnation with its tallies around a period; times in ns."""

    account: Account
    told: Sequence[Told]
    """Within the period, by number: where the clock jumped, their times go back and forth."""
    before: tuple[int, int] | None = None
    """(end, last) of the newest tally before the period."""
    after: tuple[int, int] | None = None
    """(start, first) of the oldest tally behind it."""
    begins: int = 0
    """Nothing of it was recorded earlier."""
    ends: int
    """Nothing of it that we know of was recorded later."""


def sums_of(account: Account, first: int, last: int) -> Sums:
    """Tell where the records [first, last] of a stream are."""
    found = Sums(produced=last - first + 1)
    below = above = 0
    for a, b, reason in account.ranges:
        gone = _overlap((first, last), (a, b))
        if gone:
            found.reasons[reason] += gone
            found.lost += gone
            below += _overlap((first, min(last, account.watermark)), (a, b))
    found.stored = max(0, min(last, account.watermark) - first + 1) - below
    open_first = max(first, account.watermark + 1)
    if open_first <= last:
        lost_above = [(a, b) for a, b, _ in account.ranges]
        for a, b in [*account.held, (max(account.told_last, account.watermark) + 1, last)]:
            part = (max(a, open_first), min(b, last))
            above += _overlap(part, part) - sum(_overlap(part, gone) for gone in lost_above)
    found.waiting = above
    found.unaccounted = found.produced - found.stored - found.waiting - found.lost
    return found


def _overlap(one: Range, other: Range) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]) + 1)


def untold(lane: Lane) -> list[tuple[int, int, int, int]]:
    """Give the records that no tally covers: [(earliest, latest, first, last)], times in ns."""
    found: list[tuple[int, int, int, int]] = []
    at, covered = lane.before if lane.before is not None else (lane.begins, 0)
    for told in lane.told:
        if told.first > covered + 1:
            found.append((min(at, told.start), told.start, covered + 1, told.first - 1))
        at, covered = max(at, told.end), max(covered, told.last)
    end, last = lane.after if lane.after is not None else (lane.ends, lane.account.produced + 1)
    if last > covered + 1:
        found.append((at, max(at, end), covered + 1, last - 1))
    return found


def lay(hours: Sequence[Hour], lane: Lane) -> None:
    """Put a lane's records into the hours they were recorded in. `hours` follow one another."""
    if not hours:
        return
    zero = hours[0].start_ms // HOUR_MS
    for told in lane.told:
        place = told.start // HOUR_NS - zero
        if 0 <= place < len(hours):
            _add(hours[place], lane.account, told.first, told.last)
    for earliest, latest, first, last in untold(lane):
        begin, end = earliest // HOUR_NS - zero, max(earliest, latest - 1) // HOUR_NS - zero
        if begin == end:
            if 0 <= begin < len(hours):
                _add(hours[begin], lane.account, first, last)
        else:
            for place in range(max(0, begin), min(len(hours) - 1, end) + 1):
                hours[place].untold += last - first + 1


def _add(hour: Hour, account: Account, first: int, last: int) -> None:
    hour.streams.setdefault(account.stream, Sums()).add(sums_of(account, first, last))


def judge(hour: Hour, *, first_ms: int | None, heard_ms: int | None, online: bool, now_ms: int) -> str:
    """Say how an hour stands, the worst that is so.

    first_ms: when the gateway was heard of first; heard_ms: when it last said what it has.
    """
    total, end_ms = hour.total(), hour.start_ms + HOUR_MS
    if first_ms is None or end_ms <= first_ms or hour.start_ms > now_ms:
        return "before"
    if total.unaccounted:
        return "unaccounted"
    if end_ms > now_ms and online:
        return "running"
    if hour.untold or (end_ms > (heard_ms or 0) and not online):
        return "unknown"
    if total.waiting:
        return "arriving"
    if total.lost:
        return "lost"
    return "complete" if total.produced else "empty"


@dataclass(slots=True, kw_only=True)
class GatewayHours:
    """One gateway's hours."""

    accounts: GatewayAccounts
    hours: list[Hour]
    lanes: list[Lane]


def by_hour(
    connection: Connection, tenant: str, period: Range, *, now_ms: int, offline_ms: float
) -> list[GatewayHours]:
    """Give every gateway's hours that overlap the period [start, end) in ms; no row of a fact is read."""
    start_ms, end_ms = period
    begin = start_ms // HOUR_MS * HOUR_MS
    count = -(-(end_ms - begin) // HOUR_MS)
    told = _told(connection, tenant, begin * 1_000_000, (begin + count * HOUR_MS) * 1_000_000)
    seen = {
        number: (first, last, gone)
        for number, first, last, gone in connection.execute(
            "select g.id, (select min(i.first_seen_ms) from incarnation i where i.gateway=g.id), g.last_seen_ms, g.gone_ms"
            " from gateway g where g.tenant=?",
            (tenant,),
        )
    }
    found: list[GatewayHours] = []
    for one in accounts(connection, tenant):
        hours = [Hour(start_ms=begin + i * HOUR_MS) for i in range(count)]
        first_ms, last_seen, gone = seen.get(one.number, (None, None, None))
        times = (begin * 1_000_000, last_seen or now_ms, now_ms)
        lanes = _lanes(connection, one, told.get(one.number, {}), times)
        for lane in lanes:
            lay(hours, lane)
            earliest = min([t.start for t in lane.told] + [lane.before[0] if lane.before else lane.begins])
            first_ms = min(first_ms or now_ms, earliest // 1_000_000)
        online = last_seen is not None and (gone is None or gone < last_seen) and now_ms - last_seen <= offline_ms
        for hour in hours:
            hour.state = judge(hour, first_ms=first_ms, heard_ms=one.as_of_ms, online=online, now_ms=now_ms)
        found.append(GatewayHours(accounts=one, hours=hours, lanes=lanes))
    return found


_Told = dict[int, dict[tuple[str, int], list[Told]]]


def _told(connection: Connection, tenant: str, begin: int, end: int) -> _Told:
    found: _Told = {}
    for gateway, inc, stream, start, stop, first, last in connection.execute(
        "select gateway, inc, stream, start, end_at, first, last from tally where tenant=? and start>=? and start<?"
        " order by first",
        (tenant, begin, end),
    ):
        found.setdefault(gateway, {}).setdefault((inc, stream), []).append(Told(start, stop, first, last))
    return found


_BESIDE: Final = "select start, end_at, first, last from tally where gateway=? and inc=? and stream=?"


def _lane(connection: Connection, gateway: int, account: Account, told: Sequence[Told], begin: int) -> Lane:
    """Give a lane with the tallies that stand before and behind those of the period: two looks into an index."""
    key = (gateway, account.inc, account.stream)
    if told:
        before = connection.one(f"{_BESIDE} and first<? order by first desc limit 1", (*key, told[0].first))
        at = max(one.last for one in told)
    else:
        before = connection.one(f"{_BESIDE} and start<? order by first desc limit 1", (*key, begin))
        at = before[3] if before else 0
    after = connection.one(f"{_BESIDE} and first>? order by first limit 1", (*key, at))
    return Lane(
        account=account,
        told=told,
        before=(before[1], before[3]) if before else None,
        after=(after[0], after[2]) if after else None,
        ends=0,
    )


def _lanes(
    connection: Connection,
    one: GatewayAccounts,
    told: dict[tuple[str, int], list[Told]],
    times: tuple[int, int, int],
) -> list[Lane]:
    """Give the lanes that can reach into a period, with the time that each can have filled.

    times: begin of the period in ns; when the gateway was heard last and now, in ms.
    """
    begin, heard_ms, now_ms = times
    starts = sorted({(a.ord, a.inc): (a.first_seen_ms, a.closed) for a in one.accounts}.items())
    ends: dict[str, int] = {}
    for place, ((_, inc), (_, closed)) in enumerate(starts):
        follower = starts[place + 1][1][0] if place + 1 < len(starts) else None
        limit = follower if closed and follower is not None else now_ms if not closed else heard_ms
        ends[inc] = limit * 1_000_000
    within = {inc for inc, _ in told}
    reaching = [place for place, ((_, inc), _) in enumerate(starts) if ends[inc] >= begin or inc in within]
    # The one before bounds when the first of them can have begun.
    wanted = [starts[place] for place in range(max(0, min(reaching) - 1), len(starts))] if reaching else []
    lanes: list[Lane] = []
    previous_end = 0
    for (_, inc), (seen_ms, _) in wanted:
        mine = [
            _lane(connection, one.number, account, told.get((inc, account.stream), []), begin)
            for account in one.accounts
            if account.inc == inc
        ]
        newest = max(
            [t.end for lane in mine for t in lane.told] + [lane.before[0] for lane in mine if lane.before] + [0]
        )
        begins = previous_end or seen_ms * 1_000_000
        lanes += [replace(lane, begins=begins, ends=max(ends[inc], newest)) for lane in mine]
        previous_end = newest or previous_end
    return lanes


def hour_answer(hour: Hour) -> dict[str, Any]:
    """Give one hour as the API says it."""
    return {
        "start": iso(hour.start_ms),
        "state": hour.state,
        **hour.total().answer(),
        "unknown": hour.untold,
        "streams": [{"stream": stream, **sums.answer()} for stream, sums in sorted(hour.streams.items())],
    }
