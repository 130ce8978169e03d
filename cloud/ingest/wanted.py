"""Records somebody asked for again: a row each, so that any process may ask and a restart forgets nothing.

Asked, sent to the gateway when it is heard next (and again until it answers), done when it has answered for every
record: with the record itself, or by saying that it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from cloud.database import Connection
from cloud.ingest.items import Want
from sync.topics import Address

AGAIN_MS: Final = 30_000
AT_ONCE: Final = 8
"""Requests that are out at one gateway; the ring is read beside live data."""


def ask(
    connection: Connection, address: Address, inc: str, stream: int, span: tuple[int, int], *, by: str, now_ms: int
) -> int:
    """Ask for the records of a span, both ends included; gives the request's number. Raises KeyError for an unknown one."""
    row = connection.one(
        "select i.id from incarnation i join gateway g on g.id=i.gateway where g.tenant=? and g.site=? and g.name=?"
        " and i.inc=?",
        (address.tenant, address.site, address.gateway, inc),
    )
    if row is None:
        raise KeyError(inc)
    (number,) = connection.execute(
        "insert into wanted(tenant, inc, stream, first, last, asked_ms, asked_by) values(?,?,?,?,?,?,?) returning id",
        (address.tenant, row[0], stream, *span, now_ms, by),
    )
    return int(number[0])


def hand_out(connection: Connection, gateway: int, now_ms: int, *, only: Collection[str] | None = None) -> list[Want]:
    """Give what a gateway is to be asked for now, and note that it was.

    only: the incarnations that may be asked for; another box with the same identity would say that they are gone.
    """
    rows = connection.execute(
        "select w.id, i.inc, w.stream, w.first, w.last, w.answered from wanted w join incarnation i on i.id=w.inc"
        " where i.gateway=? and w.done_ms is null and (w.sent_ms is null or w.sent_ms<?) order by w.id",
        (gateway, now_ms - AGAIN_MS),
    )
    rows = [row for row in rows if only is None or row[1] in only]
    wants: list[Want] = []
    for number, inc, stream, first, last, answered in rows[:AT_ONCE]:
        connection.execute("update wanted set sent_ms=? where id=?", (now_ms, number))
        for begin, end in _left(first, last, json.loads(answered)):
            wants.append(Want(inc, stream, begin, end))
    return wants


def answered(connection: Connection, inc: int, stream: int, spans: list[tuple[int, int]], now_ms: int) -> None:
    """Note that a gateway has answered for these records."""
    for number, first, last, before in connection.execute(
        "select id, first, last, answered from wanted where inc=? and stream=? and done_ms is null order by id",
        (inc, stream),
    ):
        known = [(a, b) for a, b in json.loads(before)]
        news = [(max(a, first), min(b, last)) for a, b in spans if b >= first and a <= last]
        if not news:
            continue
        merged = _merge(known + news)
        done = now_ms if not _left(first, last, merged) else None
        connection.execute("update wanted set answered=?, done_ms=? where id=?", (json.dumps(merged), done, number))


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _left(first: int, last: int, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    left: list[tuple[int, int]] = []
    at = first
    for begin, end in spans:
        if begin > at:
            left.append((at, begin - 1))
        at = max(at, end + 1)
    if at <= last:
        left.append((at, last))
    return left
