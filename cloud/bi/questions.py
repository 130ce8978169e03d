"""Is this hour of this line complete, and if not, why; and asking the gateway again for what is not here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec

from cloud.bi.hours import HOUR_MS, HOUR_NS, GatewayHours, Hour, Lane, Sums, untold
from cloud.bi.times import iso
from cloud.database import Connection
from cloud.plant import Place
from sync.facts import Backfilled, Stream

STREAMS: Final = (Stream.EVENT, Stream.FACT, Stream.AGG)
"""What a line's hour is made of: what happened, and what was measured."""
MAX_RANGES: Final = 1_000
NS: Final = 1_000_000
_backfilled: Final[msgspec.json.Decoder[Backfilled]] = msgspec.json.Decoder(Backfilled)

_LOSS: Final = {
    "shed": ("given up on a full disk", "디스크 부족으로 버림"),
    "quarantine": ("damaged on the gateway's disk", "게이트웨이 디스크에서 손상"),
    "rollback": ("gone with a restored disk", "디스크 복원으로 사라짐"),
    "rejected": ("refused by the cloud", "클라우드가 거부"),
    "retention": ("forgotten before they were safe", "백업 전에 삭제됨"),
    "expired": ("too old to be kept", "보관 기간 만료"),
    "gone": ("not there any more when asked for", "다시 요청했으나 남아 있지 않음"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing was acquired from a source for a while."""

    source: str
    start_ms: int
    end_ms: int
    tags: int
    reason: str
    filled: bool
    """Whether the machine's own history gave it back later."""

    def answer(self) -> dict[str, Any]:
        """Give it as the API says it."""
        times = {"start": iso(self.start_ms), "end": iso(self.end_ms)}
        return {"source": self.source, **times, "tags": self.tags, "reason": self.reason, "filled": self.filled}


def silences(connection: Connection, place: Place, start_ms: int, end_ms: int) -> list[Silence]:
    """Give the gaps of a line's sources that overlap [start, end)."""
    rows = connection.execute(
        "select source, start, at, tags, reason from gap where tenant=? and site=? and work_unit=? and at>? and start<?"
        " order by start",
        (*place, start_ms * NS, end_ms * NS),
    )
    if not rows:
        return []
    backfills = [
        _backfilled.decode(body)
        for (body,) in connection.execute(
            "select body from fact where tenant=? and at>? and at<=? and kind='backfill' and work_unit=? and inc in"
            " (select i.id from incarnation i join gateway g on g.id=i.gateway where g.site=?)",
            (place[0], start_ms * NS, max(row[2] for row in rows), place[2], place[1]),
        )
    ]
    return [
        Silence(
            source=source,
            start_ms=start // NS,
            end_ms=at // NS,
            tags=tags,
            reason=reason,
            filled=any(b.source == source and b.start <= start and at <= b.at for b in backfills),
        )
        for source, start, at, tags, reason in rows
    ]


def verdict(hours: Sequence[Hour], sums: Sums, quiet: Sequence[Silence]) -> tuple[bool | None, str]:
    """Give (complete, state): None while nobody can say."""
    states = {hour.state for hour in hours}
    if not hours or states <= {"before"}:
        return None, "before"
    if sums.unaccounted:
        return False, "unaccounted"
    if sums.lost:
        return False, "lost"
    if sums.waiting:
        return False, "arriving"
    if "unknown" in states:
        return None, "unknown"
    if "running" in states:
        return None, "running"
    if any(not silence.filled for silence in quiet):
        return False, "gap"
    return (True, "complete") if sums.produced else (True, "empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question about a line's period, with what was found."""

    name: dict[str, str]
    gateway: str
    period: tuple[int, int]
    zone: tzinfo
    state: str
    sums: Sums
    untold: int
    quiet: Sequence[Silence]

    def sentence(self) -> dict[str, str]:
        """Say it in Korean and English; every number comes from the ledger."""
        start, end = (datetime.fromtimestamp(ms / 1000, UTC).astimezone(self.zone) for ms in self.period)
        day = f"{start:%Y-%m-%d} {start:%H:%M}–{end:%H:%M}"
        if start.date() != end.date() and (end.hour, end.minute) != (0, 0):
            day = f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M}"
        known = {
            "complete": ("complete", "빠짐없이 저장되었습니다"),
            "empty": ("complete: nothing was recorded", "기록된 것이 없고, 빠진 것도 없습니다"),
            "before": ("before anything was heard of its gateway", "게이트웨이 가동 이전입니다"),
            "unknown": ("not known yet", "아직 알 수 없습니다"),
            "running": ("still running", "아직 진행 중입니다"),
        }
        english, korean = known.get(self.state, ("not complete", "완전하지 않습니다"))
        reasons = self._reasons()
        en = f"{self.name['en']}, {day}: {english}"
        ko = f"{self.name['ko']}, {day}: {korean}"
        if reasons:
            en += ": " + "; ".join(one for one, _ in reasons)
            ko += ". " + ", ".join(one for _, one in reasons)
        return {"ko": ko + ".", "en": en + "."}

    def _reasons(self) -> list[tuple[str, str]]:
        sums, gateway = self.sums, self.gateway
        said: list[tuple[str, str]] = []
        if sums.produced:
            said.append(
                (
                    f"{sums.stored:,} of {sums.produced:,} records are stored",
                    f"기록 {sums.produced:,}건 중 {sums.stored:,}건 저장",
                )
            )
        if sums.waiting:
            said.append(
                (f"{sums.waiting:,} still wait on {gateway}", f"{sums.waiting:,}건은 {gateway}에서 전송 대기 중")
            )
        for reason, count in sorted(sums.reasons.items()):
            english, korean = _LOSS.get(reason, (reason, reason))
            said.append((f"{count:,} are lost ({english})", f"{count:,}건 손실({korean})"))
        if sums.unaccounted:
            said.append((f"{sums.unaccounted:,} are unaccounted for", f"{sums.unaccounted:,}건은 행방을 알 수 없음"))
        if self.untold:
            said.append(
                (
                    f"{gateway} has not said yet which of {self.untold:,} records fall into this time",
                    f"{gateway}의 기록 {self.untold:,}건은 어느 시간에 속하는지 아직 보고되지 않음",
                )
            )
        elif self.state == "unknown":
            said.append((f"{gateway} has not been heard since", f"{gateway}의 소식이 끊겨 있음"))
        for silence in self.quiet:
            if not silence.filled:
                minutes = max(1, round((silence.end_ms - silence.start_ms) / 60_000))
                said.append(
                    (
                        f"{silence.source} could not be read for {minutes} min",
                        f"{silence.source}에서 {minutes}분간 값을 읽지 못함",
                    )
                )
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Records that are not here and can be asked for."""

    number: int
    """Of the incarnation's row."""
    inc: str
    stream: int
    first: int
    last: int


def missing(found: GatewayHours, period: tuple[int, int], streams: Iterable[int] | None = None) -> list[Missing]:
    """Give the ranges of the hours that overlap a period (ms) that are declared lost, or are nowhere."""
    begin, end = period[0] // HOUR_MS * HOUR_NS, period[1] * NS
    wanted = None if streams is None else set(streams)
    ranges: list[Missing] = []
    for lane in found.lanes:
        account = lane.account
        if wanted is not None and account.stream not in wanted:
            continue
        spans = [(told.first, told.last) for told in lane.told if begin <= told.start < end]
        spans += [(first, last) for earliest, latest, first, last in untold(lane) if earliest < end and latest > begin]
        for first, last in sorted(_within(spans, _not_here(lane))):
            ranges.append(
                Missing(number=account.number, inc=account.inc, stream=account.stream, first=first, last=last)
            )
    return ranges


def _not_here(lane: Lane) -> list[tuple[int, int]]:
    """Give what is lost, and what lies above the watermark without being held by the gateway."""
    account = lane.account
    gone = [(first, last) for first, last, _ in account.ranges]
    at = account.watermark + 1
    newer = (max(account.told_last, account.watermark) + 1, account.produced)
    for first, last in sorted([*account.held, *gone, newer]):
        if first > last:
            continue
        if first > at:
            gone.append((at, first - 1))
        at = max(at, last + 1)
    if at <= account.produced:
        gone.append((at, account.produced))
    return gone


def _within(spans: Iterable[tuple[int, int]], parts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    cut = [(max(a, x), min(b, y)) for a, b in spans for x, y in parts]
    return list(dict.fromkeys((first, last) for first, last in cut if first <= last))


def ask(connection: Connection, tenant: str, ranges: Sequence[Missing], *, by: str, now_ms: int) -> int:
    """Put ranges on the list of what is asked for again; one that stands there already is not put twice."""
    asked = 0
    for one in ranges:
        key = (one.number, one.stream, one.first, one.last)
        sql = "select 1 from wanted where inc=? and stream=? and first=? and last=? and done_ms is null"
        if connection.one(sql, key) is None:
            connection.execute(
                "insert into wanted(tenant, inc, stream, first, last, asked_ms, asked_by) values(?,?,?,?,?,?,?)",
                (tenant, *key, now_ms, by),
            )
            asked += 1
    return asked


def requests(connection: Connection, tenant: str, limit: int = 20) -> list[dict[str, Any]]:
    """Give the newest requests, with what became of them."""
    return [
        {
            "site": site,
            "gateway": gateway,
            "inc": inc,
            "stream": stream,
            "first": first,
            "last": last,
            "asked": iso(asked),
            "asked_by": by,
            "sent": None if sent is None else iso(sent),
            "done": None if done is None else iso(done),
        }
        for site, gateway, inc, stream, first, last, asked, by, sent, done in connection.execute(
            "select g.site, g.name, i.inc, w.stream, w.first, w.last, w.asked_ms, w.asked_by, w.sent_ms, w.done_ms from wanted w"
            " join incarnation i on i.id=w.inc join gateway g on g.id=i.gateway where w.tenant=?"
            " order by w.id desc limit ?",
            (tenant, limit),
        )
    ]
