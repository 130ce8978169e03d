from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from cloud.commands import backup as backups
from cloud.commands import manifest
from cloud.commands.backup import backup
from cloud.commands.manifest import BackupError
from cloud.commands.restore import restore
from cloud.commands.verify import verify
from cloud.config import Settings, load
from cloud.database import Database, open_database
from cloud.ingest import orders
from cloud.ingest.items import Item
from cloud.ingest.store import Ingest
from cloud.plant import Plants
from cloud.running import RunningError, alone
from sync.signing import Signer
from tests.cloud.conftest import write_cloud_toml
from tests.cloud.gateway import S, Start, state
from tests.servers import ROOT, Broker, free_port, process, wait_until

NOW = 1_790_000_000 * S


@pytest.fixture
def settings(cloud_toml: Path) -> Settings:
    cloud_toml.write_text(cloud_toml.read_text().replace('safe = "stored"', 'safe = "backup"'))
    return load(cloud_toml)


@pytest.fixture
def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """Give settings of another, empty database of the same kind."""
    if settings.database_url.startswith("sqlite"):
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        return load(write_cloud_toml(folder, "sqlite:///cloud.db"))
    url = settings.database_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f'drop database if exists "{_name(url)}_else" with (force)')
        admin.execute(f'create database "{_name(url)}_else" template template0')
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return load(write_cloud_toml(folder, f"{url}_else"))


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _name(url: str) -> str:
    return url.rpartition("/")[2]


class Writer:
    """Stores chunk after chunk of one gateway, as the running service does."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.ingest = database, Ingest(Plants(settings))
        self.start = Start(signer=Signer(bytes([7] * 32)))
        self.rows = 0

    async def store(self, count: int = 1) -> None:
        for _ in range(count):
            chunk = self.start.facts(*(state(NOW + self.rows + i, "EXECUTE") for i in range(20)))
            item = Item(self.start.address, *chunk)
            await self.database.write(lambda c, item=item: self.ingest.store(c, [item]))
            self.rows += 20

    async def safe(self) -> int:
        return (await self.database.read(lambda c: c.execute("select max(safe) from ingest_stream")))[0][0]


async def test_a_backup_made_while_the_cloud_stores_is_whole_and_says_what_is_safe(
    database: Database, settings: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    writer = Writer(database, settings)
    await writer.store(30)
    stop = asyncio.Event()

    async def go_on() -> None:
        while not stop.is_set():
            await writer.store()

    going = asyncio.create_task(go_on())
    said = await asyncio.to_thread(backup, settings, tmp_path / "backups", 3)
    stop.set()
    await going
    assert "1 streams are safe further than before" in said
    (path,) = _files(tmp_path / "backups", "*[bp]")
    made = manifest.read(path)
    safe = await writer.safe()
    assert made.stored == safe
    assert 600 <= safe <= writer.rows
    assert await database.read(lambda c: c.execute("select path, bytes from backup")) == [
        (str(path.resolve()), made.bytes)
    ]
    restore(elsewhere, path)
    report = verify(elsewhere)
    assert (report.faults, report.rows, report.linked) == ([], safe, safe // 20)
    async with open_database(elsewhere.database_url) as restored:
        rows = await restored.read(lambda c: c.execute("select kind from gateway_event order by id"))
        assert rows[-1] == ("safe regressed",)


async def test_the_newest_backups_stay(database: Database, settings: Settings, tmp_path: Path) -> None:
    writer, folder = Writer(database, settings), tmp_path / "backups"
    folder.mkdir()
    (folder / "notes.json").write_text("{}")
    (folder / "triflow-half.db.partial").write_text("of a backup that was cut short")
    for _ in range(4):
        await writer.store()
        await asyncio.to_thread(backup, settings, folder, 2)
    kept = sorted(p.name for p in folder.iterdir())
    assert len(kept) == 5
    assert "notes.json" in kept
    assert max(manifest.read(folder / name).stored for name in kept if not name.endswith(".json")) == 80


async def test_a_damaged_backup_is_refused_and_nothing_is_touched(
    database: Database, settings: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    await Writer(database, settings).store(3)
    await asyncio.to_thread(backup, settings, tmp_path / "backups", 3)
    (path,) = _files(tmp_path / "backups", "*[bp]")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BackupError, match="bytes, it was made with"):
        restore(elsewhere, path)
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    with pytest.raises(BackupError, match="damaged"):
        restore(elsewhere, path)
    with pytest.raises(BackupError, match="no backup with its manifest"):
        restore(elsewhere, tmp_path / "nothing.db")
    path.write_bytes(whole)
    assert "restored" in restore(elsewhere, path)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_running_cloud_is_not_restored_under_its_feet(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    await Writer(database, settings).store(3)
    await asyncio.to_thread(backup, settings, tmp_path / "backups", 3)
    (path,) = _files(tmp_path / "backups", "*.db")
    with alone(settings):
        with pytest.raises(BackupError, match="stop it first"):
            restore(settings, path)
        with pytest.raises(RunningError, match="one at a time"), alone(settings):
            pass


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_database_of_before_stays_beside_the_restored_one(settings: Settings, tmp_path: Path) -> None:
    async with open_database(settings.database_url) as database:
        writer = Writer(database, settings)
        await writer.store(3)
        await asyncio.to_thread(backup, settings, tmp_path / "backups", 3)
        await writer.store(2)
    (path,) = _files(tmp_path / "backups", "*.db")
    restore(settings, path)
    assert verify(settings).rows == 60
    (aside,) = _files(tmp_path, "cloud.db.before-*")
    with sqlite3.connect(aside) as old:
        assert old.execute("select count(*) from fact").fetchone() == (100,)
    old.close()
    # One whose file is beyond reading is moved away with its log, which would else be taken for the new one's.
    aside.unlink()
    (tmp_path / "cloud.db").write_bytes(os.urandom(8192))
    (tmp_path / "cloud.db-wal").write_bytes(b"not a log")
    restore(settings, path)
    assert (verify(settings).rows, verify(settings).faults) == (60, [])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_with_something_in_it_is_not_overwritten(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    await Writer(database, settings).store(1)
    await asyncio.to_thread(backup, settings, tmp_path / "backups", 3)
    (path,) = _files(tmp_path / "backups", "*.dump")
    with pytest.raises(BackupError, match="not empty"):
        restore(settings, path)


async def test_a_backup_of_the_other_kind_is_refused(database: Database, settings: Settings, tmp_path: Path) -> None:
    await asyncio.to_thread(backup, settings, tmp_path / "backups", 3)
    (path,) = _files(tmp_path / "backups", "*[bp]")
    other = "postgresql://nobody@127.0.0.1:1/x" if path.suffix == ".db" else "sqlite:///cloud.db"
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(BackupError, match="is a backup of"):
        restore(load(write_cloud_toml(folder, other)), path)


async def test_what_cannot_be_backed_up_leaves_nothing_behind_and_nothing_safe(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    if settings.database_url.startswith("sqlite"):
        async with open_database(settings.database_url) as database:
            await Writer(database, settings).store(200)
        path = tmp_path / "cloud.db"
        pages = bytearray(path.read_bytes())
        middle = len(pages) // 2 // 4096 * 4096
        pages[middle : middle + 8192] = os.urandom(8192)
        path.write_bytes(pages)
        with pytest.raises(BackupError, match="damaged"):
            backup(settings, folder, 3)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BackupError, match="client programs"):
            backup(settings, folder, 3)
        monkeypatch.undo()
        small = tmp_path / "bin"
        small.mkdir()
        (small / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump: error: could not write: No space left' >&2\nexit 1\n")
        (small / "pg_dump").chmod(0o755)
        monkeypatch.setenv("PATH", f"{small}:{os.environ['PATH']}")
        with pytest.raises(BackupError, match="No space left"):
            backup(settings, folder, 3)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_dump_that_was_cut_short_is_no_backup(database: Database, settings: Settings, tmp_path: Path) -> None:
    await Writer(database, settings).store(20)
    await asyncio.to_thread(backup, settings, tmp_path / "backups", 3)
    (path,) = _files(tmp_path / "backups", "*.dump")
    whole = path.read_bytes()
    for size in (len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:size])
        with pytest.raises(BackupError):
            backups.check_dump(path)


async def test_verify_names_what_is_wrong(database: Database, settings: Settings) -> None:
    writer = Writer(database, settings)
    await writer.store(4)
    assert verify(settings).faults == []
    for sql in (
        "delete from fact where seq=7",
        "update ingest_chunk set digest=before where first=21",
        "update ingest_stream set rows=rows+1, stored=stored+5",
    ):
        await database.write(lambda c, sql=sql: c.execute(sql))
    faults = verify(settings).faults
    assert any("81 records are counted, 79 are there" in fault for fault in faults)
    assert any("record 21 is not that of its digest" in fault for fault in faults)
    assert any("records 81 to 85 are neither stored nor lost" in fault for fault in faults)
    await database.write(lambda c: c.execute("update ingest_chunk set before=digest where first=41"))
    assert any("breaks at record 41" in fault for fault in verify(settings).faults)


def test_the_running_service_carries_out_what_it_is_told(tmp_path: Path, broker: Broker, sqlite_template: Path) -> None:
    port = free_port()
    more = f'[broker]\nhost = "127.0.0.1"\nport = {broker.port}\ntls = false'
    path = write_cloud_toml(tmp_path, "sqlite:///cloud.db", more, port)
    shutil.copy(sqlite_template, tmp_path / "cloud.db")

    def cloud(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "triflow", "cloud", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)

    log = tmp_path / "cloud.log"
    with process("triflow", "cloud", "run", str(path), log=log):
        wait_until(lambda: b"broker connected" in log.read_bytes(), "it runs")
        done = cloud("backup", str(path), str(tmp_path / "backups"))
        assert done.returncode == 0, done.stderr
        assert "0 streams are safe further" in done.stdout
        refused = cloud("gateway", str(path), "demo/seoul/gw-1", "--keep", "0" * 32)
        assert refused.returncode == 69
        assert "was ever heard" in refused.stderr
        (made,) = _files(tmp_path / "backups", "*.db")
        assert "stop it first" in cloud("restore", str(path), str(made)).stderr
        second = tmp_path / "second.toml"
        second.write_text(path.read_text().replace(f"port = {port}", f"port = {free_port()}"))
        assert "SQLite takes one at a time" in cloud("run", str(second)).stderr
        assert "need PostgreSQL" in cloud("ingest", str(second), "--shard", "1/2").stderr
    assert list((tmp_path / "cloud.db.orders").iterdir()) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_order_waits_for_the_service(database: Database, settings: Settings, tmp_path: Path) -> None:
    order = orders.Keep(("demo", "seoul", "gw-1"), "0" * 32)
    with alone(settings), pytest.raises(orders.OrderError, match="when it can"):
        await asyncio.to_thread(orders.give, settings, order, 0.2)
    (waiting,) = orders.waiting(tmp_path / "cloud.db")
    work = orders.take_up(waiting)
    assert work is not None
    with pytest.raises(orders.OrderError, match="ever heard"):
        await database.write(work)
    waiting.write_text("not an order")
    assert orders.take_up(waiting) is None
    assert orders.waiting(tmp_path / "cloud.db") == []
