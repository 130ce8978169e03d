"""`triflow cloud command`: ask something of gateways, and see what they answered."""

from __future__ import annotations

import getpass
import json
import time
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import make_url

from cloud.config import Settings
from cloud.database import Connection, DatabaseError, Postgresql, Sqlite
from cloud.ingest import orders
from cloud.remote import commands
from cloud.running import file_of
from sync.settings import nearest
from sync.topics import Address

SHOWN = 500


def send(settings: Settings, kind: str, said: Sequence[str], to: str, expires_s: int) -> str:
    """Ask gateways; gives what was done. said: name=value, the value as JSON or plain text. to: tenant/site/gateway, or all.

    Raises OrderError and DatabaseError.
    """
    gateways = [address for address in settings.keys if to in {"all", str(address)}]
    if not gateways:
        known = nearest(to, [str(address) for address in settings.keys])
        raise orders.OrderError(f"no gateway {to!r} is enrolled in cloud.toml; {known}")
    order = orders.Commands(
        [(one.tenant, one.site, one.gateway) for one in gateways],
        uuid.uuid4().hex,
        kind,
        _arguments(said),
        getpass.getuser(),
        time.time_ns() // 1_000_000 + expires_s * 1000,
    )
    return orders.give(settings, order)


def _arguments(said: Sequence[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for one in said:
        name, is_, value = one.partition("=")
        if not is_ or not name.isidentifier():
            raise orders.OrderError(f"{one!r} is no argument; write name=value, e.g. mode=advise")
        try:
            arguments[name] = json.loads(value)
        except ValueError:
            arguments[name] = value
    return arguments


def show(settings: Settings) -> list[str]:
    """Give a line for every command, newest first. Raises DatabaseError."""
    path = file_of(settings)
    if path is not None and not path.exists():
        raise DatabaseError(f"there is no database {path}")
    connection: Connection = (
        Postgresql(make_url(settings.database_url), writer=False) if path is None else Sqlite(str(path), writer=False)
    )
    try:
        found, total = commands.listed(connection, time.time_ns() // 1_000_000, limit=SHOWN)
    finally:
        connection.close()
    lines = [
        f"{one['given']}  {Address(one['tenant'], one['site'], one['gateway'])}  {one['kind']}"
        f" {json.dumps(one['arguments'], ensure_ascii=False)}  {one['actor']}  {one['state']}"
        + (f": {one['why']}" if one["why"] else "")
        for one in found
    ]
    if total > len(found):
        lines.append(f"… and {total - len(found)} older")
    return lines or ["nothing was asked yet"]
