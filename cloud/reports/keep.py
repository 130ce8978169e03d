"""Reports as they were made: versions, files, and how long they stay."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cloud.bi.times import iso
from cloud.database import Connection
from cloud.reports.figures import restated

Json = dict[str, Any]

_COLUMNS: Final = (
    "id, site, kind, business_date, shift, language, version, schedule, start_ms, end_ms, as_of_ms, made_ms, made_by,"
    " digest, restated"
)
MAX_FIGURES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A report that is kept."""

    number: int
    version: int
    again: bool
    """It was there before: the figures are the same."""
    report: Json
    """Its data, with `version`, `language` and what was `restated`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Who makes a report, and why."""

    language: str
    by: str
    schedule: str = ""


def save(connection: Connection, report: Json, maker: Maker, times: tuple[int, int, int], now_ms: int) -> Kept:
    """Keep a report; the same figures again are the same report, others a new version. times: start, end, as of, in ms."""
    key = (
        report["tenant"],
        report["site"]["id"],
        report["kind"],
        report["business_date"],
        report["shift"],
        maker.language,
    )
    row = connection.one(
        "select id, version, digest, figures from report where tenant=? and site=? and kind=? and business_date=? and shift=?"
        " and language=? order by version desc limit 1",
        key,
    )
    if row is not None and row[2] == report["digest"]:
        return Kept(number=row[0], version=row[1], again=True, report=_unpack(row[3]))
    changes = [] if row is None else restated(_unpack(row[3]), report)
    version = 1 if row is None else row[1] + 1
    whole = report | {"version": version, "language": maker.language, "restated": changes}
    start_ms, end_ms, as_of_ms = times
    packed = zlib.compress(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode(), 6)
    rows = connection.execute(
        "insert into report(tenant, site, kind, business_date, shift, language, version, schedule, start_ms, end_ms, as_of_ms,"
        " made_ms, made_by, digest, restated, figures) values(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " on conflict do nothing returning id",
        (
            *(*key, version, maker.schedule, start_ms, end_ms, as_of_ms, now_ms, maker.by),
            *(report["digest"], len(changes), packed),
        ),
    )
    if not rows:  # another process was quicker by a moment
        return save(connection, report, maker, times, now_ms)
    return Kept(number=int(rows[0][0]), version=version, again=False, report=whole)


def _unpack(body: bytes) -> Json:
    unpacker = zlib.decompressobj()
    return json.loads(unpacker.decompress(bytes(body), MAX_FIGURES))


def find(connection: Connection, tenant: str, number: int) -> tuple[Json, Json] | None:
    """Give a report's head and its data; None where there is none."""
    row = connection.one(f"select {_COLUMNS}, figures from report where tenant=? and id=?", (tenant, number))  # noqa: S608 - our columns
    return None if row is None else (_head(row), _unpack(row[15]))


def _head(row: tuple[Any, ...]) -> Json:
    names = ("id", "site", "kind", "business_date", "shift", "language", "version", "schedule")
    times = {name: iso(value) for name, value in zip(("start", "end", "as_of", "made"), row[8:12], strict=True)}
    return dict(zip(names, row[:8], strict=True)) | times | {"made_by": row[12], "digest": row[13], "restated": row[14]}


def listed(connection: Connection, tenant: str, asked: Mapping[str, str], *, page: int, page_size: int) -> Json:
    """Give one page of reports, newest first, with the exact total. asked: site, kind, language, business_date."""
    chosen = {
        name: value for name, value in asked.items() if value and name in {"site", "kind", "language", "business_date"}
    }
    where = "".join(f" and {name}=?" for name in chosen)
    values = (tenant, *chosen.values())
    (total,) = connection.execute(f"select count(*) from report where tenant=?{where}", values)[0]  # noqa: S608 - ours
    rows = connection.execute(
        f"select {_COLUMNS} from report where tenant=?{where} order by made_ms desc, id desc limit ? offset ?",  # noqa: S608 - ours
        (*values, page_size, (page - 1) * page_size),
    )
    return {"items": [_head(row) for row in rows], "page": page, "page_size": page_size, "total": int(total)}


def file(connection: Connection, tenant: str, number: int, name: str) -> tuple[str, bytes] | None:
    """Give a file's media type and bytes; None where it was never drawn, or is no longer kept."""
    row = connection.one(
        "select media, body from report_file where tenant=? and report=? and name=?", (tenant, number, name)
    )
    return None if row is None else (row[0], bytes(row[1]))


def put_file(
    connection: Connection, tenant: str, number: int, name: str, *, made: tuple[str, bytes], now_ms: int
) -> None:
    """Keep a file; the first that was drawn stays."""
    media, body = made
    connection.execute(
        "insert into report_file(report, name, tenant, media, bytes, made_ms, body) values(?,?,?,?,?,?,?) on conflict do nothing",
        (number, name, tenant, media, len(body), now_ms, body),
    )


def forget(connection: Connection, *, now_ms: int, report_days: int, file_days: int, files_mb: int) -> None:
    """Delete what is older than it is kept, and the oldest files beyond their room."""
    day = 86_400_000
    connection.execute("delete from report_file where made_ms<?", (now_ms - file_days * day,))
    connection.execute(
        "delete from report_file where report in (select id from report where made_ms<?)", (now_ms - report_days * day,)
    )
    connection.execute("delete from report where made_ms<?", (now_ms - report_days * day,))
    connection.execute(
        "delete from report_due where ended_ms is not null and ended_ms<? and due_ms<?",
        (now_ms - report_days * day, now_ms - report_days * day),
    )
    room = files_mb * 1_000_000
    for number, name, size in connection.execute(
        "select report, name, bytes from report_file order by made_ms desc, report desc"
    ):
        room -= size
        if room < 0:
            connection.execute("delete from report_file where report=? and name=?", (number, name))
