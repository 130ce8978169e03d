"""How far figures are behind facts: marts, the ledger, gateways, dead letters, jobs, the auditor."""

from __future__ import annotations

from typing import Any, Final

from cloud.bi.overview import gateways
from cloud.bi.times import iso
from cloud.database import Connection
from cloud.etl import jobs, letters, mismatches
from cloud.marts.compute import KIND_OF
from cloud.plant import Plants

Json = dict[str, Any]
SHOWN: Final = 10


def marts(connection: Connection, tenant: str, now_ms: int) -> list[Json]:
    """Give every mart: when it was refreshed, how long that took, how many rows it has, and what waits."""
    versions = {
        mart: row
        for mart, *row in connection.execute(
            "select mart, version, refreshed_ms, took_us, error, row_count from mart_version where tenant=?", (tenant,)
        )
    }
    waits = {
        kind: (int(count), int(due))
        for kind, count, due in connection.execute(
            "select mart, count(*), min(due_ms) from dirty_bucket where tenant=? and due_ms<=? group by mart",
            (tenant, now_ms),
        )
    }
    found: list[Json] = []
    for mart, kind in KIND_OF.items():
        version, refreshed, took_us, error, rows = versions.get(mart, (0, None, None, "", 0))
        pending, due = waits.get(kind, (0, None))
        state = "failed" if error else "pending" if pending else "empty" if not rows else "fresh"
        found.append(
            {
                "name": mart,
                "kind": "view" if mart.startswith("mv_") else "mart",
                "status": state,
                "refreshed": None if refreshed is None else iso(refreshed),
                "duration_ms": None if took_us is None else took_us / 1000,
                "rows": rows,
                "refreshes": version,
                "version": version,
                "pending": pending,
                "oldest_due": None if due is None else iso(due),
                "error": error,
            }
        )
    return found


def lag(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> list[Json]:
    """Give how far the newest data of every gateway is behind the clock."""
    found: list[Json] = []
    behind = {
        (site, name): (data_at, oldest)
        for site, name, data_at, oldest in connection.execute(
            "select site, name, data_at, oldest_at from gateway where tenant=?", (tenant,)
        )
    }
    for one in gateways(connection, plants, tenant, now_ms):
        data_at, oldest = behind.get((one["site"], one["id"]), (None, None))
        waits = one["waiting"] and oldest is not None
        since = oldest if waits else data_at
        found.append(
            {
                "site": one["site"],
                "gateway": one["id"],
                "last_seen": one["last_seen"],
                "data_at": None if data_at is None else iso(max(0, data_at // 1_000_000)),
                "waiting": one["waiting"],
                "lag_s": None if since is None else max(0.0, round((now_ms - since / 1_000_000) / 1000, 3)),
            }
        )
    return found


def auditor(connection: Connection, tenant: str) -> Json:
    """Give what the auditor looked at and found; what is wrong first."""
    row = connection.one(
        "select checked, differing, last_ms, mismatch_ms from mart_audit where tenant=?", (tenant,)
    ) or (0, 0, None, None)
    still = mismatches.listed(connection, tenant, limit=100, still=True)
    return {
        "checked": row[0],
        "differing": row[1],
        "last": None if row[2] is None else iso(row[2]),
        "last_mismatch": None if row[3] is None else iso(row[3]),
        "mismatches": still + mismatches.listed(connection, tenant, limit=SHOWN, still=False),
    }


def status(connection: Connection, plants: Plants, tenant: str, now_ms: int) -> Json:
    """Give all of it at once."""
    pending, due = connection.execute(
        "select count(*), min(due_ms) from dirty_bucket where tenant=? and due_ms<=?", (tenant, now_ms)
    )[0]
    return {
        "as_of": iso(now_ms),
        "marts": marts(connection, tenant, now_ms),
        "pending": pending,
        "oldest_due": None if due is None else iso(due),
        "ingest": lag(connection, plants, tenant, now_ms),
        "dead_letters": letters.counted(connection, tenant),
        "auditor": auditor(connection, tenant),
        "jobs": jobs.page(connection, tenant, limit=SHOWN, offset=0)[0],
    }
