from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from cloud.config import Settings, load
from cloud.database import DatabaseError, migrate, open_database
from cloud.tables import metadata
from tests.cloud.conftest import write_cloud_toml
from tests.servers import ROOT


def test_migrations_and_tables_tell_the_same_schema(settings: Settings) -> None:
    engine = sa.create_engine(settings.database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrating_twice_changes_nothing(settings: Settings) -> None:
    def version() -> list[str]:
        engine = sa.create_engine(settings.database_url)
        with engine.connect() as connection:
            found = [row[0] for row in connection.execute(sa.text("select version_num from alembic_version"))]
        engine.dispose()
        return found

    migrate(settings.database_url)
    before = version()
    migrate(settings.database_url)
    assert len(before) == 1
    assert version() == before


def test_an_unreachable_database_is_said_with_what_to_check() -> None:
    with pytest.raises(DatabaseError, match="check that it runs"):
        migrate("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseError, match="check that the folder"):
        migrate("sqlite:////proc/nowhere/cloud.db")


def _at(url: str, revision: str) -> None:
    """Bring an empty database to an older schema."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "cloud" / "migrations"))
    config.attributes["url"] = url
    command.upgrade(config, revision)


@pytest.fixture
def older(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Settings:
    """Give a database of the release before, with a gateway and what it had sent."""
    folder = tmp_path / "older"
    folder.mkdir()
    if database_url.startswith("sqlite"):
        settings = load(write_cloud_toml(folder, "sqlite:///cloud.db"))
    else:
        settings = load(write_cloud_toml(folder, database_url))
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute("drop schema public cascade")
            admin.execute("create schema public")
    _at(settings.database_url, "0002")
    engine = sa.create_engine(settings.database_url)
    with engine.begin() as connection:
        for sql in (
            "insert into gateway(id, tenant, site, name) values(1, 'demo', 'seoul', 'gw-1')",
            "insert into incarnation(id, tenant, gateway, inc, first_seen_ms) values(1, 'demo', 1, 'ab', 5)",
            "insert into ingest_stream(inc, stream, tenant, stored, last, rows) values(1, 2, 'demo', 7, 9, 7)",
        ):
            connection.execute(sa.text(sql))
    engine.dispose()
    return settings


async def test_what_an_older_cloud_told_as_safe_stays_safe(older: Settings) -> None:
    async with open_database(older.database_url) as database:
        assert await database.read(
            lambda c: c.execute("select stored, safe, corrected, link, witness_seq from ingest_stream")
        ) == [(7, 7, 0, None, 0)]
        assert await database.read(lambda c: c.execute("select identity, public_key, resumes from gateway")) == [
            ("ok", "", 0)
        ]


async def test_a_migration_that_is_killed_half_way_leaves_the_old_schema_whole(older: Settings) -> None:
    command_line = [sys.executable, "-m", "triflow", "cloud", "migrate", str(older.folder / "cloud.toml")]
    env = {**os.environ, "TRIFLOW_FAILPOINT": "cloud.migration:1"}
    killed = subprocess.run(  # noqa: ASYNC221 - nothing else runs meanwhile
        command_line, cwd=ROOT, env=env, capture_output=True, timeout=50, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    engine = sa.create_engine(older.database_url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("select version_num from alembic_version")).all() == [("0002",)]
        assert "safe" not in {one["name"] for one in sa.inspect(connection).get_columns("ingest_stream")}
    engine.dispose()
    async with open_database(older.database_url) as database:
        assert await database.read(lambda c: c.execute("select stored, safe from ingest_stream")) == [(7, 7)]
