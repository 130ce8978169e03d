"""Both databases for every test of the cloud: SQLite in a folder, and a real PostgreSQL server."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from cloud.config import Settings, load
from cloud.database import Database, migrate, open_database
from cloud.plant import Plants
from tests.cloud.gateway import KEY

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(postgresql: str) -> str:
    """Give the URL of the PostgreSQL server, without a database name; `template_triflow` is migrated."""
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as admin:
        admin.execute("create database template_triflow")
    migrate(f"{postgresql.replace('postgresql', 'postgresql+psycopg')}/template_triflow")
    return postgresql


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "cloud.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL (as cloud.toml writes it) of an empty database with our schema, cloned from a template."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "cloud.db")
        yield f"sqlite:///{tmp_path / 'cloud.db'}"
        return
    server = request.getfixturevalue("cluster")
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f"create database {name} template template_triflow")
    yield f"{server}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


CLOUD_TOML = """
safe = "stored"
[database]
url = "{url}"
[http]
port = {port}
{more}
[[gateway]]
tenant = "demo"
site = "seoul"
id = "gw-1"
key = {{credential = "gw-1.key"}}
page = "http://127.0.0.1:8091/"
[[gateway]]
tenant = "demo"
site = "seoul"
id = "gw-2"
key = {{credential = "gw-2.key"}}
[[site]]
tenant = "demo"
id = "seoul"
name = {{ko = "서울", en = "Seoul"}}
timezone = "Asia/Seoul"
[[site.shift]]
code = "A"
start = 06:00:00
end = 14:00:00
breaks = [[10:00:00, 10:15:00]]
[[site.shift]]
code = "B"
start = 14:00:00
end = 22:00:00
[[site.shift]]
code = "C"
start = 22:00:00
end = 06:00:00
breaks = [[00:30:00, 01:00:00]]
[[site.work_unit]]
path = "bottling/line-1/filler"
name = {{ko = "1호기", en = "Line 1"}}
[[site.work_unit]]
path = "bottling/line-2/filler"
name = {{ko = "2호기", en = "Line 2"}}
"""


@pytest.fixture
def cloud_toml(tmp_path: Path, database_url: str) -> Path:
    """Give a written configuration for this test's database, without a broker."""
    return write_cloud_toml(tmp_path, database_url)


def write_cloud_toml(folder: Path, url: str, more: str = "", port: int = 8080) -> Path:
    """Write cloud.toml and its credentials."""
    (folder / "credentials").mkdir(exist_ok=True)
    for name in ("gw-1.key", "gw-2.key"):
        (folder / "credentials" / name).write_text(KEY.hex())
    path = folder / "cloud.toml"
    path.write_text(CLOUD_TOML.format(url=url, more=more, port=port))
    return path


@pytest.fixture
def settings(cloud_toml: Path) -> Settings:
    return load(cloud_toml)


@pytest.fixture
def plants(settings: Settings) -> Plants:
    return Plants(settings)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.database_url) as opened:
        yield opened
