"""The cloud's rows as lanes to be verified: what `sync.verification` walks, read in order and a part at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cloud.database import Connection
from sync.facts import Stream
from sync.testimony import Chunk, Countersigned, Lane, Row

PART: Final = 500


def lanes(connection: Connection, address: tuple[str, str, str] | None, *, every_stream: bool) -> Iterator[Lane]:
    """Give the lanes of one gateway (tenant, site, gateway), or of all; those of the audit stream alone, or of all.

    Within one read transaction they are of one moment.
    """
    where, values = ("", ()) if address is None else ("where g.tenant=? and g.site=? and g.name=?", address)
    for gateway, tenant, site, name, key in connection.execute(
        f"select g.id, g.tenant, g.site, g.name, g.public_key from gateway g {where} order by g.tenant, g.site, g.name",  # noqa: S608 - the texts above
        values,
    ):
        for inc_id, inc, order, previous, own_key, stream, stored, last in connection.execute(
            "select i.id, i.inc, i.ord, i.previous, i.public_key, s.stream, s.stored, s.last from incarnation i"
            " join ingest_stream s on s.inc=i.id where i.gateway=? order by i.ord, i.id, s.stream",
            (gateway,),
        ):
            if every_stream or stream == Stream.AUDIT:
                yield Lane(
                    address=f"{tenant}/{site}/{name}",
                    ord=order,
                    inc=inc,
                    previous=previous,
                    stream=stream,
                    last=stored,
                    more=stored < last,
                    gateway_key=_key(own_key or key),
                    chunks=_chunks(connection, inc_id, stream),
                    rows=_rows(connection, inc_id, stream) if stream == Stream.AUDIT else None,
                    losses=_losses(connection, inc_id, stream),
                    countersigned=_countersigned(connection, inc_id, stream),
                )


def _key(hexadecimal: str) -> bytes | None:
    """Give a key; one that is no hexadecimal text is a key that signed nothing, and every signature says so."""
    try:
        return bytes.fromhex(hexadecimal) or None
    except ValueError:
        return b"\0"


def _parts(connection: Connection, sql: str, key: tuple[int, int], column: int) -> Iterator[tuple[Any, ...]]:
    after = -1
    while True:
        rows = connection.execute(sql, (*key, after, PART))
        yield from rows
        if len(rows) < PART:
            return
        after = rows[-1][column]


def _chunks(connection: Connection, inc: int, stream: int) -> Iterator[Chunk]:
    sql = (
        "select first, count, digest, before, link, signature, body from ingest_chunk"
        " where inc=? and stream=? and first>? order by first limit ?"
    )
    for first, count, digest, before, link, signature, body in _parts(connection, sql, (inc, stream), 0):
        yield Chunk(
            first=first,
            count=count,
            digest=bytes(digest),
            before=_bytes(before),
            link=_bytes(link),
            signature=_bytes(signature),
            body=_bytes(body),
        )


def _bytes(raw: Any) -> bytes | None:
    return None if raw is None else bytes(raw)


def _rows(connection: Connection, inc: int, stream: int) -> Iterator[Row]:
    sql = (
        "select f.seq, f.body, f.tenant, f.kind, f.work_unit, f.at, e.tenant, e.site, e.gateway, e.at, e.actor, e.action,"
        " e.target, e.words from fact f left join audit_entry e on e.inc=f.inc and e.stream=f.stream and e.seq=f.seq"
        " where f.inc=? and f.stream=? and f.seq>? order by f.seq limit ?"
    )
    for seq, body, tenant, kind, work_unit, at, *index in _parts(connection, sql, (inc, stream), 0):
        names = ("tenant", "site", "gateway", "at", "actor", "action", "target", "words")
        yield Row(
            seq=seq,
            raw=body.encode("utf-8", "replace"),
            columns={"tenant": tenant, "kind": kind, "work_unit": work_unit, "at": at},
            index=dict(zip(names, index, strict=True)) if kind == "audit" else {},
        )


def _losses(connection: Connection, inc: int, stream: int) -> list[tuple[int, int, str]]:
    sql = "select first, last, reason from loss where inc=? and stream=? order by first"
    return [(first, last, reason) for first, last, reason in connection.execute(sql, (inc, stream))]


def _countersigned(connection: Connection, inc: int, stream: int) -> list[Countersigned]:
    sql = "select seq, link, at, signature from witness where inc=? and stream=? order by seq"
    return [
        Countersigned(seq=seq, link=bytes(link), at=at, signature=bytes(signature))
        for seq, link, at, signature in connection.execute(sql, (inc, stream))
    ]
