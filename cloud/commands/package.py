"""`triflow cloud package`: offer a file to gateways, and see what became of every offer."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from cloud.config import Settings
from cloud.database import Connection, DatabaseError, Postgresql, Sqlite
from cloud.ingest import orders
from cloud.packages import offers
from cloud.packages.store import Packages, beside_the_database
from cloud.running import file_of
from sync.settings import nearest
from sync.topics import Address

SHOWN = 500


def put(settings: Settings, source: Path, to: str, expires_s: int) -> str:
    """Store a file and offer it; gives what was done. to: tenant/site/gateway, or all.

    Raises OSError for the file or the folder, OrderError and DatabaseError.
    """
    gateways = [address for address in settings.keys if to in {"all", str(address)}]
    if not gateways:
        known = nearest(to, [str(address) for address in settings.keys])
        raise orders.OrderError(f"no gateway {to!r} is enrolled in cloud.toml; {known}")
    packages, now_ms = Packages(beside_the_database(settings)), time.time_ns() // 1_000_000
    digests = {packages.put(tenant, source) for tenant in sorted({one.tenant for one in gateways})}
    if len(digests) > 1:
        raise orders.OrderError(f"{source} changed while it was stored; offer it when it is complete")
    (digest,) = digests
    stored = packages.find(gateways[0].tenant, digest)
    order = orders.Offers(
        [(one.tenant, one.site, one.gateway) for one in gateways],
        digest,
        stored.stat().st_size if stored is not None else 0,
        source.name,
        getpass.getuser(),
        now_ms,
        now_ms + expires_s * 1000,
    )
    return orders.give(settings, order)


def show(settings: Settings) -> list[str]:
    """Give a line for every offer, newest first. Raises DatabaseError."""
    path = file_of(settings)
    if path is not None and not path.exists():
        raise DatabaseError(f"there is no database {path}")
    connection: Connection = (
        Postgresql(make_url(settings.database_url), writer=False) if path is None else Sqlite(str(path), writer=False)
    )
    try:
        found, total = offers.listed(connection, time.time_ns() // 1_000_000, limit=SHOWN)
    finally:
        connection.close()
    return _lines(found, total) if found else ["nothing was offered yet"]


def _lines(found: Sequence[dict[str, Any]], total: int) -> list[str]:
    lines = [
        f"{one['digest'][:12]}  {one['name']}  {one['size']} bytes"
        f"  {Address(one['tenant'], one['site'], one['gateway'])}  {_state(one)}"
        for one in found
    ]
    return [*lines, f"… and {total - len(found)} older"] if total > len(found) else lines


def _state(one: dict[str, Any]) -> str:
    match one["state"]:
        case "offered":
            sent = "never sent yet" if one["sent"] is None else f"sent {one['sent']}"
            return f"offered {one['offered']}, {sent}, until {one['expires']}"
        case "expired":
            return f"expired {one['expires']} without an answer"
        case "received":
            return f"received {one['answered']}"
        case _:
            return f"refused {one['answered']}: {one['why']}"
