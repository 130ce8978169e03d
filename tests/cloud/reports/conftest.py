"""A plant with two days and a half of made-up work that went through the real ingest; and the mail server of the other room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from cloud.config import Settings, load
from cloud.database import Database, open_database
from cloud.plant import Plants
from cloud.seed import send
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.outgoing.conftest import PostOffice, office  # noqa: F401 - a fixture

NOW = datetime(2026, 3, 4, 23, 0, tzinfo=UTC)
"""Thursday 08:00 in Seoul, in shift A; shift C of Wednesday ended two hours ago."""
NOW_MS = int(NOW.timestamp() * 1000)
KEY = '[[gateway]]\ntenant = "demo"\nsite = "seoul"\nid = "seed"\nkey = {credential = "gw-1.key"}\n'
REPORTS = """
[[site.report]]
id = "shift"
kind = "shift"
shifts = ["C"]
after_min = 10
readers = ["plant@example.com", "boss@example.com"]
[[site.report]]
id = "week"
kind = "week"
at = 07:00:00
language = "en"
"""
MAIL = """
[mail]
host = "127.0.0.1"
port = {port}
tls = "none"
sender = "triflow@plant.example"
page = "http://cloud.plant.example"
alerts = ["shift@plant.example"]
"""


class Still:
    """A clock that stands."""

    def now(self) -> int:
        return NOW_MS * 1_000_000

    def monotonic(self) -> int:
        return self.now()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


@pytest.fixture
def settings(tmp_path: Path, database_url: str, office: PostOffice) -> Settings:  # noqa: F811 - the fixture
    path = write_cloud_toml(tmp_path, database_url, MAIL.format(port=office.port))
    text = path.read_text()
    gateways, site = text.index("[[gateway]]"), text.index("[[site]]")
    path.write_text(text[:gateways] + KEY + text[site:] + REPORTS)  # the one gateway that spoke
    return load(path)


@pytest.fixture
async def worked(settings: Settings, plants: Plants) -> AsyncIterator[Database]:
    """Give a database with two days and a half of work, computed."""
    async with open_database(settings.database_url) as database:
        site = settings.site("demo", "seoul")
        first, last = date(2026, 3, 3), date(2026, 3, 5)
        await send.tell(database, plants, site, seed=1, first=first, last=last, clock=Still())
        await send.compute(database, plants, NOW_MS)
        yield database
