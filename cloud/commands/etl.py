"""`triflow cloud correct|restate|dead-letters|audit-marts`: put facts right, and see whether figures are."""

from __future__ import annotations

import argparse
import getpass
import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import make_url

from cloud.config import Settings
from cloud.database import Connection, DatabaseError, Postgresql, Sqlite
from cloud.etl import letters, ordered
from cloud.etl.recompute import differences, every_bucket, reaches
from cloud.ingest import orders
from cloud.plant import Plants
from cloud.running import file_of
from sync.settings import nearest

SHOWN = 200


def run(settings: Settings, asked: argparse.Namespace) -> tuple[int, list[str]]:
    """Do what the words say; gives the exit status and what to print. Raises OrderError and DatabaseError."""
    plants = Plants(settings)
    tenant = _tenant(plants, asked.tenant)
    who = getpass.getuser()
    match asked.command:
        case "correct":
            return 0, [_decide(settings, _correction(tenant, who, asked))]
        case "restate":
            said = ordered.Restate(
                tenant=tenant,
                from_ms=asked.start,
                to_ms=asked.end,
                lines=asked.line,
                dry_run=asked.dry_run,
                product=asked.product,
                cycle_ms=asked.cycle_ms,
                by=who,
                reason=asked.reason,
            )
            return 0, [_decide(settings, said)]
        case "dead-letters" if asked.what == "release":
            return 0, [_decide(settings, ordered.Release(tenant, asked.letter, who, asked.reason))]
        case "dead-letters" if asked.what == "retry":
            return 0, [_decide(settings, ordered.Retry(tenant, asked.code, who, asked.reason))]
        case "dead-letters":
            what = letters.Filter() if asked.all else letters.Filter(state="open", held=True)
            return 0, _read(settings, lambda c: _letters(c, tenant, what))
        case _:
            lines = _read(settings, lambda c: _audit(c, plants, tenant))
            return (1 if len(lines) > 1 else 0), lines


def _tenant(plants: Plants, asked: str | None) -> str:
    known = plants.tenants
    if asked is None and len(known) == 1:
        return known[0]
    if asked is None or asked not in known:
        raise orders.OrderError(f"say which tenant with --tenant; {nearest(asked or '', known)}")
    return asked


def _decide(settings: Settings, said: ordered.Decision) -> str:
    return orders.give(settings, orders.Decide(said))


def _correction(tenant: str, who: str, asked: argparse.Namespace) -> ordered.Correct:
    inc, _, rest = asked.fact.partition("/")
    stream, _, seq = rest.partition("/")
    if not (rest.isascii() and stream.isdecimal() and seq.isdecimal() and len(stream) <= 3 and len(seq) <= 18):
        raise orders.OrderError(f"{asked.fact!r} is no fact; write incarnation/stream/seq as /api/v1/facts shows them")
    replacement: dict[str, Any] | None = None
    if asked.replacement is not None:
        try:
            replacement = json.loads(asked.replacement.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise orders.OrderError(f"{asked.replacement} holds no fact: {error}") from error
        if not isinstance(replacement, dict):
            raise orders.OrderError(f"{asked.replacement} holds no fact: it is no JSON object")
    return ordered.Correct(tenant, inc, int(stream), int(seq), replacement, asked.rev, who, asked.reason)


def _read(settings: Settings, work: Callable[[Connection], list[str]]) -> list[str]:
    path = file_of(settings)
    if path is not None and not path.exists():
        raise DatabaseError(f"there is no database {path}")
    connection: Connection = (
        Postgresql(make_url(settings.database_url), writer=False) if path is None else Sqlite(str(path), writer=False)
    )
    try:
        connection.execute("begin isolation level repeatable read" if connection.postgresql else "begin")
        return work(connection)
    finally:
        connection.close()


def _letters(connection: Connection, tenant: str, what: letters.Filter) -> list[str]:
    found, total = letters.page(connection, tenant, what, limit=SHOWN, offset=0)
    lines = [
        f"{one['id']:>7}  {one['recorded']}  {one['severity']:<8}  {one['state']:<9}  {one['work_unit'] or one['gateway']}"
        f"  {one['inc']}/{one['stream']}/{one['seq']}  {one['code']}: {one['why']['en']}"
        for one in found
    ]
    if total > len(found):
        lines.append(f"… and {total - len(found)} older")
    return lines or ["nothing is held"]


def _audit(connection: Connection, plants: Plants, tenant: str) -> list[str]:
    now_ms, lines, looked, waiting = time.time_ns() // 1_000_000, list[str](), 0, 0
    for bucket in every_bucket(plants, tenant, reaches(connection, tenant, now_ms)):
        found = differences(connection, plants, bucket, now_ms)
        looked += found is not None
        waiting += found is None
        lines += [
            f"{one.mart}  {'/'.join(one.place[1:])}  {one.start_ms}  {one.line}  {one.measure}:"
            f" stored {one.stored}, recomputed {one.recomputed}"
            for one in found or ()
        ]
    return [
        *lines,
        f"{looked} buckets are looked at, {waiting} wait to be refreshed: {len(lines) or 'no'} figures differ",
    ]
