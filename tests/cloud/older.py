"""A database set back to an older schema with what is in it, so that migrating it again is what a plant would see."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tests.servers import ROOT


def upgrade(url: str, revision: str) -> None:
    """Bring an empty database to a schema."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "cloud" / "migrations"))
    config.attributes["url"] = url
    command.upgrade(config, revision)


def set_back(url: str, revision: str, names: tuple[str, ...]) -> None:
    """Make a database anew at an older revision, and put the rows of some tables back, in the columns it has there."""
    engine = sa.create_engine(url)
    kept: dict[str, list[dict[str, Any]]] = {}
    with engine.connect() as connection:
        for name in names:
            rows = connection.exec_driver_sql(f"select * from {name}").mappings().all()
            kept[name] = [dict(row) for row in rows]
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("drop schema public cascade")
            connection.exec_driver_sql("create schema public")
    engine.dispose()
    if url.startswith("sqlite"):
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(url.removeprefix("sqlite:///") + ending).unlink()
    upgrade(url, revision)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        known = sa.inspect(connection)
        for name, rows in kept.items():
            columns = {one["name"] for one in known.get_columns(name)}
            marks = sorted(columns & set(rows[0])) if rows else []
            for row in rows:
                sql = f"insert into {name}({','.join(marks)}) values({','.join(':' + mark for mark in marks)})"
                connection.execute(sa.text(sql), {mark: row[mark] for mark in marks})
    engine.dispose()
