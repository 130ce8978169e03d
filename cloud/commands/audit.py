"""The cloud's side of `triflow audit`: its database as a log to be verified or exported, in one snapshot."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from cloud.bi.evidence import lanes
from cloud.config import load
from cloud.database import Connection, Postgresql, Sqlite, explain
from cloud.ingest.witness import WitnessKeyError, load_key
from sync.audit import Log, LogError
from sync.settings import ConfigError
from sync.signing import Signer


@contextlib.contextmanager
def open_log(place: Path, address: str | None, *, every_stream: bool) -> Generator[Log]:
    """Give the log of the database that cloud.toml names: of one gateway (tenant/site/gateway), or of all.

    Raises LogError. Nothing is written; the service may run.
    """
    try:
        settings = load(place)
    except ConfigError as error:
        raise LogError(str(error)) from error
    if not (settings.witness_key or (settings.folder / "witness.key").exists()):
        keys: list[bytes] = []
    else:
        try:
            keys = [Signer(load_key(settings)[0]).public_key]
        except WitnessKeyError as error:
            raise LogError(str(error)) from error
    try:
        with contextlib.closing(_connect(settings.database_url)) as connection:
            connection.execute("begin isolation level repeatable read" if connection.postgresql else "begin")
            yield Log(
                side="cloud",
                whole=True,
                cloud_keys=keys,
                lanes=lanes(connection, _parts(connection, address), every_stream=every_stream),
            )
    except (sqlite3.Error, psycopg.Error) as error:
        raise LogError(explain(error)) from error


def _connect(url: str) -> Connection:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return Postgresql(parsed, writer=False)
    path = Path(parsed.database or "")
    if not path.exists():
        raise LogError(f"there is no database {path}")
    return Sqlite(str(path), writer=False)


def _parts(connection: Connection, address: str | None) -> tuple[str, str, str] | None:
    if address is None:
        return None
    tenant, _, rest = address.partition("/")
    site, _, gateway = rest.partition("/")
    if connection.one("select 1 from gateway where tenant=? and site=? and name=?", (tenant, site, gateway)) is None:
        known = [
            "/".join(row)
            for row in connection.execute("select tenant, site, name from gateway order by 1, 2, 3 limit 20")
        ]
        raise LogError(f"nothing was ever heard of a gateway {address}; known are: {', '.join(known) or 'none'}")
    return tenant, site, gateway
